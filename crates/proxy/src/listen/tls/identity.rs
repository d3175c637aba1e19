//! What a finished handshake tells of the client.

use rustls::ServerConnection;

use crate::connection::TlsInfo;
use crate::listen::client_hello::ClientHelloInfo;

/// Fills in [`TlsInfo`] from the hello that we read and the connection that rustls made of it.
pub(crate) fn tls_info(hello: &ClientHelloInfo, ja4: String, session: &ServerConnection) -> TlsInfo {
    // rustls verified the certificate (or took the verified one from the resumed session).
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    TlsInfo {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(str::to_owned))
            .unwrap_or_default(),
        sni: hello.sni.clone(),
        ja4,
        h2: session.alpn_protocol() == Some(b"h2"),
        client_certificate_sha256: certificate.map(|der| {
            let mut sum = [0; 32];
            sum.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref());
            sum
        }),
        client_common_name: certificate.and_then(|der| common_name(der)),
    }
}

/// The one common name of a certificate's subject; several would be ambiguous and count as none.
fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}
