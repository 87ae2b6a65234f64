//! Answers a stream of queries, one per line, in order and through big buffers. Answers are written before the next
//! read, so that an interactive use works as well as a file.

use std::io::{self, Read, Write};

use memchr::memchr_iter;

/// How many bytes one read takes at most.
const INPUT_BYTES: usize = 256 * 1024;

/// How many bytes of answers are gathered before they are written.
const OUTPUT_BYTES: usize = 256 * 1024;

/// How many bytes of a line are used; names are far shorter. The rest of the line is skipped.
pub(super) const LINE_BYTES_MAX: usize = 4096;

/// Writes the answer to a line, which comes without its line end.
pub(super) type Answer<'a> = &'a dyn Fn(&[u8], &mut Vec<u8>);

/// The side that failed.
#[derive(Debug)]
pub(super) enum StreamError {
    Input(io::Error),
    Output(io::Error),
}

/// Answers all lines of `input`; the last one may lack its end.
pub(super) fn lines(mut input: impl Read, mut output: impl Write, answer: Answer<'_>) -> Result<(), StreamError> {
    let mut read = vec![0; INPUT_BYTES];
    let mut out = Vec::with_capacity(OUTPUT_BYTES * 2);
    // The beginning of a line whose end is not read yet.
    let mut partial: Vec<u8> = Vec::new();
    loop {
        let length = match input.read(&mut read) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StreamError::Input(error)),
        };
        let bytes = read.get(..length).unwrap_or_default();
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = bytes.get(start..end).unwrap_or_default();
            start = end + 1;
            if partial.is_empty() {
                answer(bounded(line), &mut out);
            } else {
                extend_bounded(&mut partial, line);
                answer(bounded(&partial), &mut out);
                partial.clear();
            }
            if out.len() >= OUTPUT_BYTES {
                flush(&mut output, &mut out)?;
            }
        }
        extend_bounded(&mut partial, bytes.get(start..).unwrap_or_default());
        flush(&mut output, &mut out)?;
    }
    if !partial.is_empty() {
        answer(bounded(&partial), &mut out);
    }
    flush(&mut output, &mut out)
}

/// Adds to a partial line, whose length stays bounded.
fn extend_bounded(partial: &mut Vec<u8>, piece: &[u8]) {
    let room = (LINE_BYTES_MAX + 1).saturating_sub(partial.len());
    partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
}

/// The line without carriage return, cut to the bytes that are used.
fn bounded(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.get(..LINE_BYTES_MAX).unwrap_or(line)
}

fn flush(output: &mut impl Write, out: &mut Vec<u8>) -> Result<(), StreamError> {
    let written = output.write_all(out).and_then(|()| output.flush());
    out.clear();
    written.map_err(StreamError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its bytes in pieces of `piece` bytes.
    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(self.bytes.len()).min(buffer.len());
            let (now, later) = self.bytes.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.bytes = later;
            Ok(length)
        }
    }

    fn answers(bytes: &[u8], piece: usize) -> String {
        let mut output = Vec::new();
        lines(Pieces { bytes, piece }, &mut output, &|line, out| {
            out.push(b'<');
            out.extend_from_slice(line);
            out.extend_from_slice(b">\n");
        })
        .unwrap();
        String::from_utf8_lossy(&output).into_owned()
    }

    #[test]
    fn every_line_is_answered_in_order() {
        for piece in [1, 2, 3, 1000] {
            assert_eq!(answers(b"a\n\nbc\r\nd", piece), "<a>\n<>\n<bc>\n<d>\n");
            assert_eq!(answers(b"", piece), "");
        }
    }

    #[test]
    fn long_lines_are_bounded_and_do_not_disturb_the_next() {
        let mut bytes = vec![b'x'; 3 * INPUT_BYTES];
        bytes.extend_from_slice(b"\nnext\n");
        for piece in [LINE_BYTES_MAX - 1, INPUT_BYTES, bytes.len()] {
            let text = answers(&bytes, piece);
            assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [LINE_BYTES_MAX + 2, 6]);
        }
    }

    #[test]
    fn the_side_that_failed_is_known() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let result = lines(&b"a\n"[..], Gone, &|_, out| out.push(b'x'));
        assert!(matches!(result, Err(StreamError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), piece in 1_usize..50) {
            prop_assert_eq!(answers(&bytes, piece), answers(&bytes, 1000));
        }
    }
}
