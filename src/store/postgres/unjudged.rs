//! A certificate of which nothing is asked but its key: whoever shows it must be able to sign the handshake with it.
//!
//! So it may be of any version, out of date, for another name: `sslmode=prefer` and `require` without `sslrootcert` ask for
//! no more, and PostgreSQL's own manual makes certificates of version 1, which no judge of ours reads.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
};

use super::binding::{Key, key};

fn key_of<'a>(certificate: &'a CertificateDer<'_>) -> Result<Key<'a>, Error> {
    key(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(key_of(certificate)?.whole);
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

/// As rustls does it with a certificate's key: by any algorithm of the scheme that is the key's.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = key_of(certificate)?;
    let offered = algorithms.mapping.iter();
    let (_, able) = offered
        .into_iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let mut able = able
        .iter()
        .filter(|one| one.public_key_alg_id().as_ref() == key.algorithm);
    match able.any(|one| {
        one.verify_signature(key.bits, message, signed.signature())
            .is_ok()
    }) {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
    }
}
