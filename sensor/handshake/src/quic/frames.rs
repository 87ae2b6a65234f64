//! The frames of a client's Initial in the IETF's format: finds the CRYPTO frames among the others. Frames that no
//! Initial may carry end the walk. Google's format is in `google`.

use super::google;
use vigie_wire::Cursor;

/// The format of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// RFC 9000 §19.
    Ietf,
    /// Google's, of the version with this number.
    Google { version: u8 },
}

/// Calls `found` with offset and data of each piece of the handshake stream in `frames`. None if the walk ended at a frame
/// that it does not know or that is cut; what stood before it was found.
pub(super) fn walk<'a>(
    framing: Framing,
    frames: &'a [u8],
    packet_number_bytes: usize,
    mut found: impl FnMut(u64, &'a [u8]),
) -> Option<()> {
    let mut cursor = Cursor::new(frames);
    while skip_padding(&mut cursor) {
        match framing {
            Framing::Ietf => frame(&mut cursor, &mut found)?,
            Framing::Google { version } => google::frame(&mut cursor, version, packet_number_bytes, &mut found)?,
        }
    }
    Some(())
}

/// Skips PADDING, most of an Initial. False if nothing else is left.
#[inline]
fn skip_padding(cursor: &mut Cursor<'_>) -> bool {
    let rest = cursor.rest();
    let padding = if rest.first() == Some(&0) { zeros(rest) } else { 0 };
    cursor.skip(padding).is_some() && !cursor.is_empty()
}

/// How many zero bytes stand in front, many at a time.
fn zeros(bytes: &[u8]) -> usize {
    const CHUNK_BYTES: usize = 64;
    let is_zero = |chunk: &[u8; CHUNK_BYTES]| chunk.iter().fold(0, |any, byte| any | byte) == 0;
    let whole = bytes.as_chunks().0.iter().take_while(|chunk| is_zero(chunk)).count() * CHUNK_BYTES;
    let rest = bytes.get(whole..).unwrap_or_default();
    let words = rest.as_chunks::<8>().0.iter().take_while(|word| **word == [0; 8]).count() * 8;
    let rest = rest.get(words..).unwrap_or_default();
    whole + words + rest.iter().take_while(|&&byte| byte == 0).count()
}

/// One frame; its type may be a varint longer than needed (RFC 9000 §12.4 forbids that, receivers may let it pass).
fn frame<'a>(cursor: &mut Cursor<'a>, found: &mut impl FnMut(u64, &'a [u8])) -> Option<()> {
    match cursor.varint()? {
        // PADDING with an over-long type, PING.
        0x00 | 0x01 => Some(()),
        kind @ (0x02 | 0x03) => acknowledgement(cursor, kind == 0x03),
        0x06 => {
            let offset = cursor.varint()?;
            let length = usize::try_from(cursor.varint()?).ok()?;
            found(offset, cursor.take(length)?);
            Some(())
        }
        kind @ (0x1c | 0x1d) => {
            cursor.varint()?;
            if kind == 0x1c {
                cursor.varint()?;
            }
            let length = cursor.varint()?;
            cursor.skip(usize::try_from(length).ok()?)
        }
        _ => None,
    }
}

/// The rest of an ACK frame (RFC 9000 §19.3).
fn acknowledgement(cursor: &mut Cursor<'_>, with_congestion_counts: bool) -> Option<()> {
    cursor.varint()?;
    cursor.varint()?;
    let ranges = cursor.varint()?;
    cursor.varint()?;
    // A count larger than the bytes left ends at the first read past the end.
    for _ in 0..ranges {
        cursor.varint()?;
        cursor.varint()?;
    }
    if with_congestion_counts {
        for _ in 0..3 {
            cursor.varint()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(frames: &[u8]) -> (Vec<(u64, &[u8])>, bool) {
        let mut pieces = Vec::new();
        let whole = walk(Framing::Ietf, frames, 1, |offset, data| pieces.push((offset, data))).is_some();
        (pieces, whole)
    }

    #[test]
    fn crypto_is_found_among_all_that_an_initial_may_carry() {
        let frames = [
            &[0; 37][..],
            &[0x01, 0x40, 0x01, 0x80, 0, 0, 0],
            &[0x02, 5, 0, 1, 0, 1, 1],
            &[0x03, 5, 0, 0, 0, 7, 7, 7],
            &[0x40, 0x06, 0x40, 0x02, 0x80, 0, 0, 2, b'c', b'd'],
            &[0x1c, 0x0a, 0x06, 2, b'n', b'o', 0x1d, 0, 0],
            &[0x06, 0, 2, b'a', b'b', 0, 0],
        ]
        .concat();
        assert_eq!(pieces(&frames), (vec![(2, &b"cd"[..]), (0, &b"ab"[..])], true));
    }

    #[test]
    fn an_unknown_or_cut_frame_ends_the_walk_and_loses_nothing_before_it() {
        assert_eq!(pieces(&[0x06, 0, 1, b'a', 0x1e, 0x06, 1, 1, b'b']), (vec![(0, &b"a"[..])], false));
        assert_eq!(pieces(&[0x06, 0, 1, b'a', 0x06, 1, 2, b'b']), (vec![(0, &b"a"[..])], false));
        assert_eq!(pieces(&[0x02, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), (vec![], false));
    }
}
