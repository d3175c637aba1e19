//! What goes over the wire besides plain requests: upgrades, gRPC's trailers, trace and request ids, bad framing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::house::{House, curl, free_ports};
use crate::upstream::{Upstream, answer_after, read_head};

/// A plain listener that does not redirect, so that bytes can be sent by hand.
fn plain_listener() -> (u16, String) {
    let [port] = free_ports();
    (port, format!("\n[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:{port}\"\nprotocol = \"http\"\n"))
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn upgrades_become_tunnels_in_both_directions() {
    let upstream = Upstream::start(|_head, mut stream| {
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
            .unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        bytes.reverse();
        stream.write_all(&bytes).unwrap();
    });
    let (port, listener) = plain_listener();
    let _house = House::open(&(listener + &upstream.service("chat", "", "")));
    let mut client = connect(port);
    client
        .write_all(
            b"GET /chat HTTP/1.1\r\nhost: chat.localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let (head, mut client) = read_head(client).expect("a head");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut hello = [0; 5];
    client.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    client.write_all(b"abcd").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"dcba", "and the end of one side ends the other");
    let head = upstream.heads().remove(0).to_lowercase();
    assert!(head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq=="), "{head}");
}

#[test]
fn grpc_trailers_pass_from_an_h2c_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve_grpc(listener));
    });
    let extra = format!(
        "\n[upstream.grpc]\nservers = [\"127.0.0.1:{port}\"]\nprotocol = \"h2c\"\n\
         [service.grpc]\nhosts = [\"grpc.localhost\"]\nupstream = \"grpc\"\n"
    );
    let house = House::open(&extra);
    let answer = house.get(
        "grpc",
        "/post.Counter/Ask",
        &["--http2", "--insecure", "-H", "te: trailers", "-H", "content-type: application/grpc", "--data", "12345"],
    );
    assert!(answer.starts_with("HTTP/2 200"), "{answer}");
    assert!(answer.contains("asked by POST with te=trailers"), "{answer}");
    assert!(answer.to_lowercase().contains("grpc-status: 0"), "the trailers arrive: {answer}");
}

/// Answers every call with a message and trailers.
async fn serve_grpc(listener: TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let te = request.headers().get("te").map_or("none", |te| te.to_str().unwrap()).to_owned();
            let response = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(format!("asked by {} with te={te}\n", request.method()).into(), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            send.send_trailers(trailers).unwrap();
        }
    }
}

#[test]
fn ids_reach_the_service_and_the_log() {
    let upstream = Upstream::start(answer_after(Duration::ZERO));
    let house = House::open(&upstream.service("echo", "", "criticality = \"important\""));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01");
    let answer = house.get("echo", "/a?secret=1", &["--insecure", "-H", &parent]);
    assert!(answer.contains(" 200"), "{answer}");
    let head = upstream.heads().remove(0).to_lowercase();
    assert!(head.contains(&format!("traceparent: 00-{trace}-")), "{head}");
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("a request id").trim().to_owned();
    let line = house.logged(|line| line["request_id"] == id.as_str());
    for (field, value) in
        [("service", "echo"), ("path", "/a"), ("lane", "important"), ("standing", "anonymous"), ("trace_id", trace)]
    {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["reason"].is_null(), "{line}");
    assert!(!line.to_string().contains("secret"), "queries are not logged: {line}");

    let url = format!("https://127.0.0.1:{}/b", house.https);
    let refused = curl(&["-s", "--insecure", "-H", "Host: nobody.localhost", &url]);
    let refused = String::from_utf8_lossy(&refused.stdout).into_owned();
    let line = house.logged(|line| line["path"] == "/b");
    assert!(refused.contains(line["reference"].as_str().expect("a reference")), "{line} {refused}");
    assert!(line["reason"].is_string() && line["reason_code"].is_number() && line["attempts"] == 0, "{line}");
}

#[test]
fn lines_that_end_in_a_bare_lf_are_refused_and_the_connection_closed() {
    let upstream = Upstream::start(answer_after(Duration::ZERO));
    let (port, listener) = plain_listener();
    let _house = House::open(&(listener + &upstream.service("echo", "", "")));
    let heads: [&[u8]; 3] = [
        b"GET / HTTP/1.1\nhost: echo.localhost\n\n",
        b"GET / HTTP/1.1\r\nhost: echo.localhost\nx: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: echo.localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc",
    ];
    for head in heads {
        let mut client = connect(port);
        client.write_all(head).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer, and the end");
        assert!(answer.starts_with("HTTP/1.1 400"), "{:?}: {answer}", String::from_utf8_lossy(head));
    }
    assert!(upstream.heads().is_empty(), "nothing of it reaches the service");
}
