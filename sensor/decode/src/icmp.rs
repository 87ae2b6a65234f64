//! ICMP messages: what takes the place of ports, so that a message and its answer are of one flow.

pub(super) const V4: u8 = 1;
pub(super) const V6: u8 = 58;

/// The message type, and the type that answers it or that it answers; without an answer, the code.
pub(super) fn ports(protocol: u8, message: u8, code: u8) -> (u16, u16) {
    (message.into(), answer(protocol, message).unwrap_or(code).into())
}

/// The type of the other message of a query and its answer (RFC 792, RFC 950, RFC 1256; RFC 4443, RFC 4861, RFC 2710, RFC 4620,
/// RFC 6275).
const fn answer(protocol: u8, message: u8) -> Option<u8> {
    const PAIRS: [(u8, u8, u8); 11] = [
        (V4, 8, 0),
        (V4, 10, 9),
        (V4, 13, 14),
        (V4, 15, 16),
        (V4, 17, 18),
        (V6, 128, 129),
        (V6, 130, 131),
        (V6, 133, 134),
        (V6, 135, 136),
        (V6, 139, 140),
        (V6, 144, 145),
    ];
    let mut rest: &[(u8, u8, u8)] = &PAIRS;
    while let [(version, query, answer), tail @ ..] = rest {
        if *version == protocol && *query == message {
            return Some(*answer);
        }
        if *version == protocol && *answer == message {
            return Some(*query);
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_and_its_answer_are_of_one_flow_and_errors_keep_their_code() {
        assert_eq!((ports(V4, 8, 0), ports(V4, 0, 0)), ((8, 0), (0, 8)));
        assert_eq!((ports(V6, 128, 0), ports(V6, 129, 0)), ((128, 129), (129, 128)));
        assert_eq!((ports(V4, 3, 1), ports(V4, 128, 7), ports(V6, 8, 4)), ((3, 1), (128, 7), (8, 4)));
    }
}
