//! What tokens are judged by: whether a stranger could guess it, or read it where it lies. Never shows any of it.
//!
//! Each way of judging tokens is an arm of `check`.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{database::is_for_others, report::Finding, setup::Setup};
use crate::{
    authority::Authority,
    config::{GOOD_SECRET_BYTES, NamedSecret, WEAK_SECRET_BYTES},
    server::{TOKENS_SECRET, WEBHOOK_SECRET},
    store::{Mode, Secrets},
};

const SUBJECT: &str = "secret";
const RANDOM: &str = "use 32 random bytes on both sides, such as from: openssl rand -hex 32";
/// What stands in guides and examples, in lower case and without what stands between the words.
const WELL_KNOWN: [&str; 16] = [
    "secret",
    "changeme",
    "changethis",
    "yoursecret",
    "your256bitsecret",
    "yourjwtsecret",
    "yoursupersecret",
    "supersecret",
    "mysecret",
    "jwtsecret",
    "secretkey",
    "password",
    "votresecret",
    "keyboardcat",
    "example",
    "test",
];
/// Random bytes in hexadecimal digits have more different ones than this.
const DIFFERENT_MIN: usize = 8;

pub(super) async fn check(setup: &Setup) -> Vec<Finding> {
    let none = |why: &str| vec![Finding::ok(SUBJECT, why)];
    let mut findings = match (&setup.secret, &setup.authority) {
        (Err(fault), _) | (_, Err(fault)) => vec![Finding::error(SUBJECT, fault)],
        (Ok(Some(named)), _) => vec![strength(setup, named)],
        (Ok(None), Ok(Some(Authority::Key(_)))) => {
            none("none is needed: tokens are verified with --jwt-public-key")
        }
        (Ok(None), Ok(Some(Authority::Published(_)))) => {
            none("none is needed: tokens are verified with the keys at --jwks-url")
        }
        (Ok(None), Ok(Some(Authority::Backend(_)))) => {
            none("none is needed: the backend judges tokens")
        }
        (Ok(None), Ok(None)) if setup.mode() == Mode::Standalone => none(
            "none is set: the built-in accounts are open (standalone mode), with a secret of their own",
        ),
        (Ok(None), Ok(None)) => Vec::new(),
    };
    findings.extend(readable_files(setup));
    findings
}

fn strength(setup: &Setup, NamedSecret { secret, name }: &NamedSecret) -> Finding {
    let bytes = secret.as_bytes();
    let length = bytes.len();
    let guessable = |found: String| match setup.is_exposed() {
        true => Finding::fail(
            SUBJECT,
            format!("{found}: whoever guesses it is any user"),
            RANDOM,
        ),
        false => Finding::warn(SUBJECT, found, RANDOM),
    };
    if is_well_known(bytes) {
        return guessable(format!("{name} is one of those that stand in examples"));
    }
    if length < WEAK_SECRET_BYTES {
        return guessable(format!("{name} has {length} bytes, which can be guessed"));
    }
    let mut different = bytes.to_vec();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT_MIN || is_repeated(bytes) {
        return guessable(format!("{name} repeats itself"));
    }
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| b" \t\r\n\"'".contains(byte));
    if ends(bytes.first()) || ends(bytes.last()) {
        return Finding::warn(
            SUBJECT,
            format!(
                "{name} begins or ends with a quote or with white space, which is a part of it"
            ),
            "take it away, unless the backend has it too",
        );
    }
    if length < GOOD_SECRET_BYTES {
        return Finding::warn(
            SUBJECT,
            format!("{name} has {length} bytes; {GOOD_SECRET_BYTES} random ones are good"),
            RANDOM,
        );
    }
    Finding::ok(
        SUBJECT,
        format!("{name} has {length} bytes and is none of the well-known ones"),
    )
}

/// Whether it is an example's: one of the words, alone or with little around it.
fn is_well_known(secret: &[u8]) -> bool {
    /// What people add to an example's secret, in letters and digits: `votre_secret_jwt_du_backend_go` adds 15.
    const ADDED: usize = 16;
    let plain: String = secret
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    let is_words = plain.bytes().filter(u8::is_ascii_digit).count() < 6;
    WELL_KNOWN.iter().any(|word| {
        plain == *word
            || is_words
                && word.len() > 4
                && plain.contains(word)
                && plain.len() <= word.len() + ADDED
    })
}

/// Whether its first half, or a smaller part, comes again and again.
fn is_repeated(secret: &[u8]) -> bool {
    (1..=secret.len() / 2).any(|part| {
        let (first, rest) = secret.split_at(part);
        rest.chunks(part).all(|again| first.starts_with(again))
    })
}

/// Files with secrets in them that every user of this machine can read.
fn readable_files(setup: &Setup) -> Vec<Finding> {
    const ENV: &str = ".env";
    let dotenv = (setup.dotenv && names_a_secret(Path::new(ENV))).then(|| PathBuf::from(ENV));
    let secrets = setup.database.as_ref().ok();
    let secrets = secrets.map(|database| Secrets::of(&database.canonical()));
    let kept = |name| secrets.as_ref()?.file(name);
    let given = [
        dotenv,
        setup.args.storage.jwt_secret_file.clone(),
        setup.args.copies.webhook_secret_file.clone(),
        kept(TOKENS_SECRET),
        kept(WEBHOOK_SECRET),
    ];
    let is_open = |path: &PathBuf| path.metadata().is_ok_and(|file| is_for_others(file.mode()));
    let open = given.into_iter().flatten().filter(is_open);
    open.map(|path| {
        let path = path.display();
        Finding::warn(
            SUBJECT,
            format!("{path} holds a secret and can be read by every user of this machine"),
            format!("chmod 600 {path}"),
        )
    })
    .collect()
}

fn names_a_secret(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // A database's URL has its password in it.
    [
        "JWT_SECRET",
        "BACKEND_TOKEN",
        "WEBHOOK_SECRET",
        "postgres://",
        "postgresql://",
    ]
    .iter()
    .any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_examples_are_known_and_random_ones_are_not() {
        for known in [
            "secret",
            "Change-Me",
            "your-256-bit-secret",
            "votre_secret_jwt_du_backend_go",
            "my_super_secret_key_123",
            "test",
        ] {
            assert!(is_well_known(known.as_bytes()), "{known}");
        }
        for other in [
            "7f3c1d0a9b8e4f6521c0de9a7b3e5f10",
            "correct horse battery staple",
            "0secret1f3c1d0a9b8e4f6521c0de9a7b3e5f10",
        ] {
            assert!(!is_well_known(other.as_bytes()), "{other}");
        }
        assert!(is_repeated(b"abcdefghijabcdefghijabc") && is_repeated(b"aaaa"));
        assert!(
            !is_repeated(b"abcdefghijklmnopqrstuvwxyz") && !is_repeated(b"") && !is_repeated(b"a")
        );
    }
}
