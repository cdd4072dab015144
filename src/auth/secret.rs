//! The key that tokens are signed with: the backend's, or one that is made once and kept beside the database.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Secret {
    /// The bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// What the file at `path` holds, without the line break that editors add at its end.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = fs::read(path)?;
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
        Ok(Self(bytes))
    }

    /// 256 random bits, as hexadecimal digits.
    pub fn random() -> String {
        rand::random::<[u8; Self::RANDOM_BYTES / 2]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The length of a [random](Self::random) one.
    pub const RANDOM_BYTES: usize = 64;

    /// The secret kept at `path`; what `make` makes, readable by its owner alone, when there is none.
    pub fn kept_at(path: &Path, make: impl FnOnce() -> String) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            kept => return kept,
        }
        let text = make();
        let draft = path.with_added_extension(format!("{:08x}", rand::random::<u32>()));
        let linked =
            write_private(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, path));
        let _ = fs::remove_file(&draft);
        match linked {
            // Somebody else was first: theirs counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error),
            Ok(()) => Ok(Self(text.into_bytes())),
        }
    }

    /// For the signature.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
