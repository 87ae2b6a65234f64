//! Hellos built by hand, for tests.

/// What a hello is made of. Each field is written as it stands, so that it may be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub version: u16,
    pub session_id: Vec<u8>,
    pub cookie: Option<Vec<u8>>,
    pub cipher_suites: Vec<u16>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 0x0303,
            session_id: vec![0x5e; 32],
            cookie: None,
            cipher_suites: vec![0x1301, 0x1302, 0x1303],
            extensions: Vec::new(),
        }
    }
}

impl Hello {
    /// A hello for `name` with nothing else.
    pub(crate) fn to(name: &str) -> Self {
        Self::default().with(0, server_name(name.as_bytes()))
    }

    /// A hello as Chrome sends it, with a post-quantum key share: more than 1.7 kB, its name last but one.
    pub(crate) fn post_quantum(name: &str) -> Self {
        let key_share =
            [&[0x04, 0xed, 0x0a, 0x0a, 0, 1, 0, 0x11, 0xec, 0x04, 0xc0][..], &[7; 1216], &[0, 0x1d, 0, 0x20], &[8; 32]]
                .concat();
        let mut hello = Self::default()
            .with(0x1a1a, vec![])
            .with(51, key_share)
            .with(45, vec![1, 1])
            .with(13, vec![0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])
            .with(43, vec![6, 0x7a, 0x7a, 3, 4, 3, 3])
            .with(10, vec![0, 10, 0x9a, 0x9a, 0x11, 0xec, 0, 29, 0, 23, 0, 24])
            .with(16, alpn(&[b"h2", b"http/1.1"]))
            .with(35, vec![])
            .with(23, vec![])
            .with(0xfe0d, ech_outer(1, 1, 32, 208))
            .with(11, vec![1, 0])
            .with(27, vec![2, 0, 2])
            .with(5, vec![1, 0, 0, 0, 0])
            .with(18, vec![])
            .with(0xff01, vec![0])
            .with(0, server_name(name.as_bytes()))
            .with(0xeaea, vec![0]);
        hello.cipher_suites = vec![
            0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x9c, 0x9d,
            0x2f, 0x35,
        ];
        hello
    }

    /// Adds an extension.
    pub(crate) fn with(mut self, kind: u16, data: Vec<u8>) -> Self {
        self.extensions.push((kind, data));
        self
    }

    /// The body, without a handshake header.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0xaa; 32]);
        body.extend(vector8(&self.session_id));
        if let Some(cookie) = &self.cookie {
            body.extend(vector8(cookie));
        }
        let cipher_suites: Vec<u8> = self.cipher_suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        body.extend(vector16(&cipher_suites));
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        for (kind, data) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(vector16(data));
        }
        body.extend(vector16(&extensions));
        body
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        message(1, &self.body())
    }

    /// The handshake message in one record.
    pub(crate) fn record(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

/// A handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = (body.len() as u32).to_be_bytes().to_vec();
    message[0] = kind;
    message.extend(body);
    message
}

/// A TLS record.
pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector16(content)].concat()
}

/// Handshake content in records of `size` bytes.
pub(crate) fn records(content: &[u8], size: usize) -> Vec<u8> {
    content.chunks(size).flat_map(|chunk| record(22, chunk)).collect()
}

/// A DTLS record with `content`.
pub(crate) fn dtls_record(kind: u8, version: [u8; 2], epoch: u16, sequence: u32, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &version, &epoch.to_be_bytes(), &[0, 0], &sequence.to_be_bytes(), &vector16(content)].concat()
}

/// A fragment of a DTLS handshake message.
pub(crate) fn dtls_fragment(kind: u8, sequence: u16, body: &[u8], start: usize, end: usize) -> Vec<u8> {
    let u24 = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    [&[kind][..], &u24(body.len()), &sequence.to_be_bytes(), &u24(start), &u24(end - start), &body[start..end]].concat()
}

/// The data of a server_name extension with one host name.
pub(crate) fn server_name(name: &[u8]) -> Vec<u8> {
    server_names(&[(0, name)])
}

/// The data of a server_name extension with these entries.
pub(crate) fn server_names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries.iter().flat_map(|(kind, name)| [&[*kind][..], &vector16(name)].concat()).collect();
    vector16(&list)
}

/// The data of an ALPN extension.
pub(crate) fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    vector16(&protocols.iter().flat_map(|protocol| vector8(protocol)).collect::<Vec<u8>>())
}

/// The data of an ECH extension on an outer hello.
pub(crate) fn ech_outer(kdf: u16, aead: u16, enc_bytes: usize, payload_bytes: usize) -> Vec<u8> {
    let (enc, payload) = (vector16(&vec![1; enc_bytes]), vector16(&vec![2; payload_bytes]));
    [&[0][..], &kdf.to_be_bytes(), &aead.to_be_bytes(), &[0x5a], &enc, &payload].concat()
}

pub(crate) fn vector8(data: &[u8]) -> Vec<u8> {
    [&[data.len() as u8][..], data].concat()
}

pub(crate) fn vector16(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes()[..], data].concat()
}

/// Bytes from hexadecimal text with white space in it; lines that start with `#` tell where it is from.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The hello of Chrome 96 to 107, by its published lists: fifteen cipher suites, sixteen extensions.
pub fn old_chrome() -> Hello {
    let numbers = |list: &[u16]| list.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let cipher_suites = vec![
        0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
        0x002f, 0x0035,
    ];
    Hello { cipher_suites, ..Hello::default() }
        .with(0x6a6a, vec![])
        .with(0, server_name(b"api.example"))
        .with(23, vec![])
        .with(0xff01, vec![0])
        .with(10, vec![0, 2, 0, 29])
        .with(11, vec![1, 0])
        .with(35, vec![])
        .with(16, alpn(&[b"h2", b"http/1.1"]))
        .with(5, vec![1, 0, 0, 0, 0])
        .with(13, vector16(&numbers(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601])))
        .with(18, vec![])
        .with(51, vec![0, 0])
        .with(45, vec![1, 1])
        .with(43, vec![4, 3, 4, 3, 3])
        .with(27, vec![2, 0, 2])
        .with(17513, vec![0, 3, 2, b'h', b'2'])
        .with(0x8a8a, vec![0])
        .with(21, vec![0; 100])
}
