//! TLS to the database: whom it may be, and what is said when it is somebody else.
//!
//! Where no certificate is asked for (`sslmode=require`), the handshake is still signed by the one that is shown; with a
//! password by SCRAM, which is bound to that certificate, nobody can stand between who does not have its key.
//!
//! No revocation lists and no certificates of our own. A server's certificate that lies itself in `sslrootcert` is trusted
//! as it is, until the file is changed.

use std::{future::Future, io, path::Path, pin::Pin, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio_postgres::{
    Socket,
    config::SslNegotiation,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::TlsConnector;

use super::{
    error::OpenError,
    unjudged,
    url::{Roots, Trust},
};

/// Makes connections safe, as far as the URL asks for it.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    judges_name: bool,
}

impl Tls {
    pub(super) fn new(trust: &Trust, negotiation: SslNegotiation) -> Result<Self, OpenError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (roots, judges_name) = match trust {
            Trust::Anybody => (None, false),
            Trust::IssuedBy(roots) => (Some(Issuers::load(roots)?), false),
            Trust::HostOf(roots) => (Some(Issuers::load(roots)?), true),
        };
        let judge = Judge {
            roots,
            judges_name,
            provider: provider.clone(),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| OpenError::Tls(error.to_string()))?;
        let mut config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth();
        if negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self {
            config: Arc::new(config),
            judges_name,
        })
    }
}

/// Whose word counts.
#[derive(Debug)]
struct Issuers {
    store: RootCertStore,
    /// The same, as they are: one of them may be the server's own.
    themselves: Vec<CertificateDer<'static>>,
}

impl Issuers {
    fn load(roots: &Roots) -> Result<Self, OpenError> {
        let themselves = match roots {
            Roots::System => rustls_native_certs::load_native_certs().certs,
            Roots::File(path) => in_file(path)?,
        };
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(themselves.iter().cloned());
        if added == 0 {
            return Err(OpenError::Roots {
                place: match roots {
                    Roots::System => "this machine's certificates".into(),
                    Roots::File(path) => format!("sslrootcert {path:?}"),
                },
                why: "there is no certificate that can be read".into(),
            });
        }
        Ok(Self { store, themselves })
    }
}

fn in_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| OpenError::Roots {
        place: format!("sslrootcert {path:?}"),
        why: match error {
            rustls::pki_types::pem::Error::Io(error) => error.to_string(),
            other => format!("{other:?}"),
        },
    })
}

/// Judges the certificate that a server shows.
#[derive(Debug)]
struct Judge {
    roots: Option<Issuers>,
    judges_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(shown)?;
        // One that signed itself is often marked as an issuer, which a server's must not be: but it was asked for.
        if !roots.themselves.contains(shown) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &roots.store,
                between,
                now,
                algorithms,
            )?;
        }
        if self.judges_name {
            verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.roots {
            Some(_) => verify_tls12_signature(message, certificate, signed, algorithms),
            None => unjudged::verify_tls12(message, certificate, signed, algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.roots {
            Some(_) => verify_tls13_signature(message, certificate, signed, algorithms),
            None => unjudged::verify_tls13(message, certificate, signed, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Why there was no handshake, of which no second try would come to anything else.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// The failure in words; the host's name is for those who must find out which of several it is.
fn refused(error: &rustls::Error, host: &str) -> Refused {
    use CertificateError as Bad;
    Refused(match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "the server's certificate comes from none of those that are trusted".into()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!(
                "the server's certificate is not for {host:?} (names count that it has as subjectAltName)"
            ),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "the server's certificate has expired".into()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet".into()
            }
            // What is behind it has no name here.
            other if format!("{other:?}").contains("UnsupportedCertVersion") => {
                "the server's certificate is of X.509 version 1, which nobody can judge: make it anew with openssl x509 -req … -extfile FILE, where FILE holds subjectAltName=DNS:host; or sslmode=require without sslrootcert, which judges none".into()
            }
            other => format!("the server's certificate is not good: {other:?}"),
        },
        other => format!("there was no TLS handshake: {other}"),
    })
}

/// For one host.
pub(super) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
    host: String,
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connector;
    type Error = Refused;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connector, Refused> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // Nobody will ask who it is. A Unix socket has no name, and no TLS.
            Err(_) if !self.judges_name || host.is_empty() => {
                ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
            }
            Err(_) => {
                let why = format!("{host:?} is no name that a certificate can be for");
                return Err(Refused(why));
            }
        };
        Ok(Connector {
            tls: TlsConnector::from(self.config.clone()),
            name,
            host: host.to_owned(),
        })
    }
}

impl TlsConnect<Socket> for Connector {
    type Stream = Stream;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let made: io::Result<_> = self.tls.connect(self.name, socket).await;
            let made = made.map_err(|error| {
                let said = error.get_ref().and_then(|said| said.downcast_ref());
                match said {
                    Some(said) => Self::Error::from(refused(said, &self.host)),
                    None => error.into(),
                }
            });
            made.map(Stream)
        })
    }
}

/// A safe connection.
pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let shown = self.0.get_ref().1.peer_certificates();
        let shown = shown.and_then(|shown| shown.first());
        match shown.and_then(|shown| super::binding::end_point(shown)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl tokio::io::AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
