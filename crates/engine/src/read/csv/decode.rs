//! CSV text in other encodings than UTF-8, as UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};
use stet_domain::project::Encoding;

const INPUT_BYTES: usize = 256 * 1024;

/// The text of a file as UTF-8. What is no text in the encoding is an error with the place of its bytes; UTF-8 is passed on
/// as it is.
pub(super) fn decoded<R: Read + Send + 'static>(mut file: R, encoding: Encoding) -> io::Result<Box<dyn Read + Send>> {
    let (form, first) = match encoding {
        Encoding::Utf8 => return Ok(Box::new(file)),
        Encoding::Windows1252 => (WINDOWS_1252, Vec::new()),
        Encoding::Utf16 => {
            let mut mark = Vec::new();
            (&mut file).take(2).read_to_end(&mut mark)?;
            match mark.as_slice() {
                [0xFE, 0xFF] => (UTF_16BE, Vec::new()),
                [0xFF, 0xFE] => (UTF_16LE, Vec::new()),
                _ => (UTF_16LE, mark),
            }
        }
    };
    Ok(Box::new(Decoding {
        file,
        decoder: form.new_decoder_without_bom_handling(),
        input: first,
        used: 0,
        passed: 0,
        output: Vec::new(),
        given: 0,
        ended: false,
    }))
}

struct Decoding<R> {
    file: R,
    decoder: Decoder,
    /// Bytes of the file of which `used` are decoded.
    input: Vec<u8>,
    used: usize,
    /// Bytes of the file before `input`.
    passed: u64,
    /// Decoded text of which `given` bytes are passed on.
    output: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Decoding<R> {
    /// Decodes the next part; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        while self.given == self.output.len() {
            if self.ended {
                return Ok(false);
            }
            if self.used == self.input.len() {
                self.passed += self.input.len() as u64;
                self.input.clear();
                self.used = 0;
                (&mut self.file).take(INPUT_BYTES as u64).read_to_end(&mut self.input)?;
                self.ended = self.input.is_empty();
            }
            let part = &self.input[self.used..];
            // The most that the bytes can become; more than that is no size of anything in memory.
            let room = self.decoder.max_utf8_buffer_length_without_replacement(part.len()).unwrap_or(part.len());
            self.output.resize(room, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(part, &mut self.output, self.ended);
            self.used += read;
            self.output.truncate(written);
            self.given = 0;
            if let DecoderResult::Malformed(bytes, behind) = result {
                let at = (self.passed + self.used as u64).saturating_sub(u64::from(bytes) + u64::from(behind));
                let message = format!("byte {at} of the file is no text in this encoding");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(true)
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.refill()? {
            return Ok(0);
        }
        let count = out.len().min(self.output.len() - self.given);
        out[..count].copy_from_slice(&self.output[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], encoding: Encoding) -> io::Result<String> {
        let mut text = String::new();
        decoded(io::Cursor::new(bytes.to_vec()), encoding)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn texts_are_decoded_whatever_their_length() {
        let long = "Müller, 𝒳 and €\r\n".repeat(40_000);
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(text(&utf16(&format!("\u{feff}{long}"), bytes), Encoding::Utf16).unwrap(), long);
        }
        assert_eq!(text(&utf16("ohne", u16::to_le_bytes), Encoding::Utf16).unwrap(), "ohne");
        assert_eq!(text(b"M\xFCller \x80\x81", Encoding::Windows1252).unwrap(), "Müller €\u{81}");
        assert_eq!(text(b"", Encoding::Utf16).unwrap(), "");
        assert_eq!(text(&vec![0xFC; 1_000_000], Encoding::Windows1252).unwrap(), "ü".repeat(1_000_000));
    }

    #[test]
    fn what_is_no_text_is_told_and_never_replaced() {
        let half = utf16("ab", u16::to_le_bytes).into_iter().chain([0x3D, 0xD8, b'x', 0]).collect::<Vec<_>>();
        let told = text(&half, Encoding::Utf16).unwrap_err().to_string();
        assert_eq!(told, "byte 4 of the file is no text in this encoding");
        assert!(text(b"a\0b", Encoding::Utf16).is_err());
    }
}
