//! A small upstream of the test's own: HTTP/1 by hand, one thread a connection, ended with the test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of a request head that are read at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Upstream {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Calls `answer` with each connection's first head and the connection; it is closed when that returns.
    pub(crate) fn start(answer: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), heads.clone());
        // It ends with the test's process: nextest gives each test one of its own.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    if let Some((head, stream)) = read_head(stream) {
                        seen.lock().unwrap().push(head.clone());
                        answer(&head, stream);
                    }
                });
            }
        });
        Self { port, heads }
    }

    /// The heads of the requests that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Configuration of a service called `name` at this upstream.
    pub(crate) fn service(&self, name: &str, upstream_keys: &str, service_keys: &str) -> String {
        format!(
            "\n[upstream.{name}]\nservers = [\"127.0.0.1:{}\"]\n{upstream_keys}\n\
             [service.{name}]\nhosts = [\"{name}.localhost\"]\nupstream = \"{name}\"\n{service_keys}\n",
            self.port
        )
    }
}

/// Reads up to the empty line, byte by byte so that nothing behind it is taken.
pub(crate) fn read_head(mut stream: TcpStream) -> Option<(String, TcpStream)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some((String::from_utf8_lossy(&head).into_owned(), stream))
}

/// Answers 200 with a short text after `wait`.
pub(crate) fn answer_after(wait: Duration) -> impl Fn(&str, TcpStream) + Send + Sync + 'static {
    move |_head, mut stream| {
        std::thread::sleep(wait);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone");
    }
}
