//! ClientHellos built by hand (RFC 8446 §4.1.2): any name or none, any length, in records of any size.

const SERVER_NAME: u16 = 0;
const PADDING: u16 = 21;
const EXTENDED_MAIN_SECRET: u16 = 23;
/// Type and length of an extension.
const EXTENSION_HEADER_BYTES: usize = 4;

/// A hello. Its name stands last but one, behind all that makes it long; only a tail comes after it.
#[derive(Clone, Debug)]
pub struct Hello {
    cipher_suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
    /// The data of the server_name extension.
    server_name: Option<Vec<u8>>,
    tail_bytes: usize,
}

impl Hello {
    /// A TLS 1.3 hello for `name`.
    pub fn to(name: &str) -> Self {
        Self::to_bytes(name.as_bytes())
    }

    /// A hello whose name may be anything.
    pub fn to_bytes(name: &[u8]) -> Self {
        Self::to_all(&[(0, name)])
    }

    /// A hello with several names, each with its type (RFC 6066 §3 knows only type 0).
    pub fn to_all(names: &[(u8, &[u8])]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|(kind, name)| [&[*kind][..], &vector16(name)].concat()).collect();
        Self { server_name: Some(vector16(&list)), ..Self::nameless() }
    }

    /// A hello without a name.
    pub fn nameless() -> Self {
        let x25519 = [&[0, 0x1d, 0, 32][..], &[8; 32]].concat();
        Self::with_key_share(&x25519).with(43, &[2, 3, 4])
    }

    /// A hello with a post-quantum key share as browsers send it (X25519MLKEM768, 1216 bytes), too long for one segment.
    pub fn post_quantum(name: &str) -> Self {
        let shares = [&[0x11, 0xec, 0x04, 0xc0][..], &[7; 1216], &[0, 0x1d, 0, 32], &[8; 32]].concat();
        let mut hello = Self::with_key_share(&shares).with(43, &[4, 3, 4, 3, 3]);
        hello.extensions.push((0xfe0d, [&[0, 0, 1, 0, 1, 0x5a, 0, 32][..], &[1; 32], &[0, 208], &[2; 208]].concat()));
        Self { server_name: Self::to(name).server_name, ..hello }
    }

    fn with_key_share(shares: &[u8]) -> Self {
        let cipher_suites = vec![0x1301, 0x1302, 0x1303, 0xc02b];
        Self { cipher_suites, extensions: Vec::new(), server_name: None, tail_bytes: 0 }
            .with(51, &vector16(shares))
            .with(13, &[0, 6, 4, 3, 8, 4, 4, 1])
            .with(10, &[0, 6, 0x11, 0xec, 0, 29, 0, 23])
    }

    /// Adds an extension.
    pub fn with(mut self, kind: u16, data: &[u8]) -> Self {
        self.extensions.push((kind, data.to_vec()));
        self
    }

    /// Adds the offer of these protocols.
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let list: Vec<u8> =
            protocols.iter().flat_map(|protocol| [&[protocol.len() as u8], protocol.as_bytes()].concat()).collect();
        self.with(16, &vector16(&list))
    }

    /// TLS 1.2 at most.
    pub fn tls12(mut self) -> Self {
        self.extensions.retain(|(kind, _)| *kind != 43 && *kind != 51);
        self.cipher_suites = vec![0xc02b, 0xc02f];
        self
    }

    /// The hello with padding in front of its name, so that the handshake message is just `bytes` long.
    pub fn padded_to(self, bytes: usize) -> Self {
        let missing = bytes.checked_sub(self.message().len() + EXTENSION_HEADER_BYTES).expect("room for padding");
        self.with(PADDING, &vec![0; missing])
    }

    /// The hello with so much padding behind its name.
    pub fn with_tail(self, bytes: usize) -> Self {
        Self { tail_bytes: bytes, ..self }
    }

    /// The handshake message (RFC 8446 §4).
    pub fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0xaa; 32]);
        body.extend([&[32][..], &[0x5e; 32]].concat());
        body.extend(vector16(&self.cipher_suites.iter().flat_map(|suite| suite.to_be_bytes()).collect::<Vec<_>>()));
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        let mut extension = |kind: u16, data: &[u8]| {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(vector16(data));
        };
        self.extensions.iter().for_each(|(kind, data)| extension(*kind, data));
        if let Some(server_name) = &self.server_name {
            extension(SERVER_NAME, server_name);
        }
        match self.tail_bytes {
            0 => extension(EXTENDED_MAIN_SECRET, &[]),
            bytes => extension(PADDING, &vec![0; bytes]),
        }
        body.extend(vector16(&extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    /// The message in one record.
    pub fn record(&self) -> Vec<u8> {
        record(&self.message())
    }

    /// The message in records of `size` bytes.
    pub fn records(&self, size: usize) -> Vec<u8> {
        self.message().chunks(size).flat_map(record).collect()
    }
}

/// A handshake record (RFC 8446 §5.1).
pub fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &vector16(content)].concat()
}

/// A record of encrypted data of this length, as it stands after the handshake.
pub fn application_data(bytes: usize) -> Vec<u8> {
    [&[23, 3, 3][..], &vector16(&vec![0xd7; bytes])].concat()
}

fn vector16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).unwrap().to_be_bytes()[..], data].concat()
}
