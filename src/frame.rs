//! A WebSocket frame ready for the wire, made once and shared by reference count.
//!
//! What a server sends is not masked (RFC 6455 section 5.1), so one and the same run of bytes serves every reader:
//! header and payload lie in one allocation, and cloning a [`Frame`] copies a pointer. Reading frames is not done here.

use bytes::{Buf as _, Bytes};

use crate::protocol::{CloseCode, Message, Ref, Reply, live_frame};

/// Bytes that may be written to any socket as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

const FINAL: u8 = 0x80;
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
/// Longest header without a mask: 2 bytes and a 64-bit length (RFC 6455 section 5.2).
const HEADER_MAX_BYTES: usize = 10;

impl Frame {
    /// A stored message, as everybody gets it live.
    pub fn message(message: &Message) -> Self {
        Self::text(message.content.as_str().len() + 256, |buffer| {
            live_frame(message, buffer)
        })
    }

    /// A reply to one request.
    pub fn reply(reply: &Reply, reference: Option<&Ref>) -> Self {
        Self::text(256, |buffer| reply.encode(reference, buffer))
    }

    /// A ping without payload.
    pub const fn ping() -> Self {
        Self(Bytes::from_static(&[FINAL | OPCODE_PING, 0]))
    }

    /// A close with its code and reason.
    pub fn close(code: CloseCode) -> Self {
        Self::build(OPCODE_CLOSE, 64, |buffer| {
            buffer.extend_from_slice(&code.code().to_be_bytes());
            buffer.extend_from_slice(code.reason().as_bytes());
        })
    }

    /// Whole frames that were encoded elsewhere: the answers to a peer's control frames.
    pub fn encoded(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// The bytes for the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets the first `written_bytes`, which have left.
    pub fn advance(&mut self, written_bytes: usize) {
        self.0.advance(written_bytes.min(self.0.len()));
    }

    /// Header and payload together, in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }

    fn text(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::build(OPCODE_TEXT, capacity, write)
    }

    /// Writes the payload behind room for the longest header, then puts the real header right before it.
    fn build(opcode: u8, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_MAX_BYTES + capacity);
        buffer.resize(HEADER_MAX_BYTES, 0);
        write(&mut buffer);
        let length = buffer.len() - HEADER_MAX_BYTES;
        let mut header = Vec::with_capacity(HEADER_MAX_BYTES);
        header.push(FINAL | opcode);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => header.push(short),
            (_, Ok(medium)) => {
                header.push(126);
                header.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                header.push(127);
                header.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let start = HEADER_MAX_BYTES - header.len();
        buffer[start..HEADER_MAX_BYTES].copy_from_slice(&header);
        Self(Bytes::from(buffer).slice(start..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(length: usize) -> Frame {
        Frame::text(length, |buffer| buffer.resize(buffer.len() + length, b'x'))
    }

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        assert_eq!(text_of(125).as_bytes()[..2], [0x81, 125]);
        assert_eq!(text_of(126).as_bytes()[..4], [0x81, 126, 0, 126]);
        assert_eq!(text_of(65_535).as_bytes()[..4], [0x81, 126, 0xff, 0xff]);
        assert_eq!(
            text_of(65_536).as_bytes()[..10],
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(text_of(65_536).len_bytes(), 10 + 65_536);
    }

    #[test]
    fn every_close_reason_fits_a_control_frame() {
        for code in [
            CloseCode::Internal,
            CloseCode::TooSlow,
            CloseCode::TokenExpired,
            CloseCode::Binary,
        ] {
            let frame = Frame::close(code);
            assert!(frame.len_bytes() <= 2 + 125, "{code:?}");
            assert_eq!(frame.as_bytes()[2..4], code.code().to_be_bytes());
        }
    }

    #[test]
    fn cloning_a_frame_shares_its_bytes() {
        let frame = text_of(1000);
        assert_eq!(frame.as_bytes().as_ptr(), frame.clone().as_bytes().as_ptr());
    }
}
