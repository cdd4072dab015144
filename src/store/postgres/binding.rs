//! What binds a login to the connection it is made on: the hash of the server's certificate (RFC 5929, `tls-server-end-point`).
//!
//! With it, who stands between and shows a certificate of their own cannot pass the login on. Of a certificate only the name
//! of its signature's algorithm is read, which says by what it is hashed; and its key, for those who ask for nothing else.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// The hash of this certificate (DER); `None` where the RFC knows none.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = hash_of(signature_algorithm(certificate)?)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// 1.2.840.113549.1.1: RSA with PKCS #1 padding.
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: ECDSA.
const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The signature's own hash, but nothing weaker than SHA-256.
fn hash_of(algorithm: &[u8]) -> Option<&'static Algorithm> {
    if let Some(rest) = algorithm.strip_prefix(&RSA) {
        return match rest {
            // MD5, SHA-1 and SHA-256.
            [4 | 5 | 11] => Some(&SHA256),
            [12] => Some(&SHA384),
            [13] => Some(&SHA512),
            _ => None,
        };
    }
    match algorithm.strip_prefix(&ECDSA)? {
        // SHA-1 and SHA-256.
        [1] | [3, 2] => Some(&SHA256),
        [3, 3] => Some(&SHA384),
        [3, 4] => Some(&SHA512),
        _ => None,
    }
}

/// `SEQUENCE { tbsCertificate, SEQUENCE { OBJECT IDENTIFIER, … }, … }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, certificate, _) = element(certificate)? else {
        return None;
    };
    let (_, _, after) = element(certificate)?;
    let (SEQUENCE, algorithm, _) = element(after)? else {
        return None;
    };
    match element(algorithm)? {
        (OBJECT_IDENTIFIER, name, _) => Some(name),
        _ => None,
    }
}

/// The public key in a certificate.
pub(super) struct Key<'a> {
    /// All of it, with its tag: SubjectPublicKeyInfo.
    pub(super) whole: &'a [u8],
    /// What is in its AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    /// The key's own bits.
    pub(super) bits: &'a [u8],
}

/// `SEQUENCE { SEQUENCE { [0] version?, serial, signature, issuer, validity, subject, key, … }, … }`.
pub(super) fn key(certificate: &[u8]) -> Option<Key<'_>> {
    let (SEQUENCE, certificate, _) = element(certificate)? else {
        return None;
    };
    let (SEQUENCE, mut rest, _) = element(certificate)? else {
        return None;
    };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    for _ in ["serial", "signature", "issuer", "validity", "subject"] {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, content, after) = element(rest)? else {
        return None;
    };
    let whole = rest.get(..rest.len() - after.len())?;
    let (SEQUENCE, algorithm, bits) = element(content)? else {
        return None;
    };
    // Whole bytes: no bit of the last one is unused.
    match element(bits)? {
        (BIT_STRING, [0, bits @ ..], _) => Some(Key {
            whole,
            algorithm,
            bits,
        }),
        _ => None,
    }
}

const VERSION: u8 = 0xa0;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The first element of some DER: its tag, what is in it, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes of length follow; four are 4 GiB.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate in everything that is read of it.
    fn signed_with(algorithm: &[u8]) -> Vec<u8> {
        let name = [&[0x06, algorithm.len() as u8], algorithm].concat();
        let algorithm = [&[0x30, name.len() as u8], &name[..]].concat();
        let tbs = [&[0x30, 0x81, 200][..], &[7; 200]].concat();
        let whole = [tbs, algorithm].concat();
        [&[0x30, 0x82, 0, whole.len() as u8][..], &whole].concat()
    }

    #[test]
    fn a_certificate_is_hashed_as_it_was_signed_and_by_sha_256_at_least() {
        for (family, last, length) in [
            (&RSA[..], &[5][..], 32),
            (&RSA, &[11], 32),
            (&RSA, &[12], 48),
            (&RSA, &[13], 64),
            (&ECDSA, &[3, 2], 32),
            (&ECDSA, &[3, 3], 48),
            (&ECDSA, &[3, 4], 64),
        ] {
            let hash = end_point(&signed_with(&[family, last].concat())).unwrap();
            assert_eq!(hash.len(), length);
        }
    }

    #[test]
    fn what_is_no_certificate_or_of_an_unknown_kind_binds_nothing() {
        let whole = signed_with(&[&RSA[..], &[11]].concat());
        for end in 0..whole.len() {
            assert_eq!(end_point(&whole[..end]), None, "{end}");
        }
        // Ed25519, and RSA with PSS padding.
        assert_eq!(end_point(&signed_with(&[0x2b, 0x65, 0x70])), None);
        assert_eq!(end_point(&signed_with(&[&RSA[..], &[10]].concat())), None);
    }
}
