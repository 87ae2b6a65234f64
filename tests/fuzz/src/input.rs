//! How made-up bytes are read as a script: small numbers first, what is left serves as wire data.

/// Made-up bytes, read from the front. What is not there reads as zero or nothing.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    /// The next `count` bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = tail;
        head
    }

    /// Bytes with their length, of two bytes, in front.
    pub fn chunk(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.bytes(usize::from(length))
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A stream, and the ends of the prefixes in which it is to arrive: up to sixteen, growing, the last of them whole.
    pub fn stream(&mut self) -> (&'a [u8], Vec<usize>) {
        let lengths = self.u8() % 16;
        let lengths: Vec<usize> = (0..lengths).map(|_| usize::from(self.u8())).collect();
        let stream = self.rest();
        let mut end = 0;
        let mut ends: Vec<usize> = lengths
            .into_iter()
            .map(|length| {
                end = stream.len().min(end + length);
                end
            })
            .collect();
        ends.push(stream.len());
        (stream, ends)
    }
}
