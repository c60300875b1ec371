//! Bit reader and Huffman tables of the entropy-coded segments (ITU-T T.81, annexes C and F).

use super::Fault;

/// Codes up to this length are decoded by one table look-up.
const LOOKUP_BITS: u32 = 9;

/// A Huffman table ready to decode.
pub(super) struct Table {
    /// `length << 8 | symbol` by the next [`LOOKUP_BITS`] bits; 0 where the code is longer.
    lookup: [u16; 1 << LOOKUP_BITS],
    /// Largest code of each length, -1 if there is none.
    max_code: [i32; 17],
    /// Added to a code of each length to find its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// Builds the table out of a DHT segment: `counts[i]` codes of length `i + 1`, in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Fault> {
        let mut table = Self {
            lookup: [0; 1 << LOOKUP_BITS],
            max_code: [-1; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut next) = (0_i32, 0_usize);
        for length in 1..=16_u32 {
            let count = counts[length as usize - 1] as usize;
            if code as usize + count > 1 << length {
                return Err(Fault::corrupt(
                    "a Huffman table has more codes than its lengths allow",
                ));
            }
            table.offset[length as usize] = next as i32 - code;
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let first = (code as usize) << (LOOKUP_BITS - length);
                    let entry = (length as u16) << 8 | u16::from(symbols[next]);
                    table.lookup[first..first + (1 << (LOOKUP_BITS - length))].fill(entry);
                }
                code += 1;
                next += 1;
            }
            if count > 0 {
                table.max_code[length as usize] = code - 1;
            }
            code <<= 1;
        }
        Ok(table)
    }

    /// The next symbol; an invalid code reads as 0 and marks the reader as corrupt.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> u8 {
        bits.refill();
        let entry = self.lookup[(bits.buffer >> (64 - LOOKUP_BITS)) as usize];
        if entry != 0 {
            bits.consume(u32::from(entry >> 8));
            return entry as u8;
        }
        self.decode_long(bits)
    }

    #[cold]
    fn decode_long(&self, bits: &mut Bits<'_>) -> u8 {
        let next = (bits.buffer >> 48) as i32;
        for length in LOOKUP_BITS as usize + 1..=16 {
            let code = next >> (16 - length);
            if code <= self.max_code[length] {
                bits.consume(length as u32);
                let index = (code + self.offset[length]) as usize;
                return self.symbols.get(index).copied().unwrap_or(0);
            }
        }
        bits.consume(16);
        bits.corrupt = true;
        0
    }
}

/// Most significant bit first, byte stuffing removed; stops in front of the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Next byte not yet in `buffer`; at a marker's 0xFF once the segment is used up.
    pos: usize,
    /// Unread bits, from the top. Below them may lie a part of the byte at `pos`.
    buffer: u64,
    available: u32,
    /// How many of the available bits, the last ones, are zeros put behind the end.
    padding: u32,
    /// A code was met that the table does not hold.
    pub(super) corrupt: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], pos: usize) -> Self {
        Self {
            data,
            pos,
            buffer: 0,
            available: 0,
            padding: 0,
            corrupt: false,
        }
    }

    /// Makes at least 32 bits available: enough for a code and the value behind it.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.available >= 32 {
            return;
        }
        if let Some(Ok(bytes)) = self
            .data
            .get(self.pos..self.pos + 8)
            .map(<[u8; 8]>::try_from)
        {
            let word = u64::from_be_bytes(bytes);
            // No byte of `word` is 0xFF if and only if no byte of its complement is 0.
            let inverse = !word;
            if inverse.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 == 0 {
                self.buffer |= word >> self.available;
                let bytes = (64 - self.available) / 8;
                self.pos += bytes as usize;
                self.available += bytes * 8;
                return;
            }
        }
        self.refill_bytewise();
    }

    fn refill_bytewise(&mut self) {
        while self.available <= 56 {
            let byte = match self.data.get(self.pos..) {
                Some([0xFF, 0x00, ..]) => {
                    self.pos += 2;
                    0xFF
                }
                Some([0xFF, ..] | []) | None => {
                    self.padding += 8;
                    0
                }
                Some([byte, ..]) => {
                    self.pos += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.available);
            self.available += 8;
        }
    }

    #[inline]
    fn consume(&mut self, count: u32) {
        self.buffer <<= count;
        self.available -= count;
    }

    /// The next `count` bits (at most 16) as an unsigned number.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        self.refill();
        let value = (self.buffer >> (64 - count)) as i32;
        self.consume(count);
        value
    }

    /// The next `count` bits (1 to 16) as a signed difference: F.2.2.1, EXTEND.
    #[inline]
    pub(super) fn take_signed(&mut self, count: u32) -> i32 {
        let value = (self.buffer >> (64 - count)) as i32;
        self.consume(count);
        let negative = (value >> (count - 1)) - 1; // all ones if the leading bit is 0
        value + (negative & (1 - (1 << count)))
    }

    /// Whether bits behind the end were read, or an invalid code was met.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.corrupt {
            return Err(Fault::corrupt("invalid Huffman code in the JPEG data"));
        }
        if self.available < self.padding {
            return Err(if self.pos + 1 >= self.data.len() {
                Fault::truncated()
            } else {
                Fault::corrupt("the JPEG data ends before the last row of the picture")
            });
        }
        Ok(())
    }

    /// Drops what is left of the segment and steps over the restart marker RST`index`.
    pub(super) fn restart(&mut self, index: u8) -> Result<(), Fault> {
        self.check()?;
        match next_marker(self.data, self.pos) {
            Some((marker, end)) if marker == 0xD0 + index => *self = Self::new(self.data, end),
            Some((marker, _)) => {
                return Err(Fault::corrupt(&format!(
                    "JPEG marker 0x{marker:02X} in place of restart marker {index}"
                )));
            }
            None => return Err(Fault::truncated()),
        }
        Ok(())
    }

    /// Where the search for the next marker starts.
    pub(super) fn position(&self) -> usize {
        self.pos
    }
}

/// The first marker at or behind `pos` and the position behind it; stuffed and fill bytes skipped.
pub(super) fn next_marker(data: &[u8], mut pos: usize) -> Option<(u8, usize)> {
    loop {
        pos += data.get(pos..)?.iter().position(|&byte| byte == 0xFF)?;
        match data.get(pos + 1)? {
            0x00 => pos += 2,
            0xFF => pos += 1,
            marker => return Some((*marker, pos + 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_values_follow_each_other() {
        // Codes: 0 -> symbol 5, 10 -> symbol 7, 110 -> symbol 9.
        let mut counts = [0; 16];
        counts[..3].copy_from_slice(&[1, 1, 1]);
        let table = Table::new(&counts, &[5, 7, 9]).unwrap();
        // 110 | 0 | 10 | 01 (signed 2 bits: -2) | then a marker.
        let data = [0b1100_1001, 0xFF, 0xD9];
        let mut bits = Bits::new(&data, 0);
        assert_eq!(
            [
                table.decode(&mut bits),
                table.decode(&mut bits),
                table.decode(&mut bits)
            ],
            [9, 5, 7]
        );
        assert_eq!(bits.take_signed(2), -2);
        assert!(bits.check().is_ok());
        bits.take(1);
        assert!(bits.check().is_err());
    }

    #[test]
    fn stuffed_bytes_are_data() {
        let data = [0xFF, 0x00, 0xAB, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xFF, 0xD9];
        let mut bits = Bits::new(&data, 0);
        assert_eq!([bits.take(16), bits.take(16)], [0xFFAB, 0x0102]);
        assert_eq!(
            [bits.take(16), bits.take(16), bits.take(16)],
            [0x0304, 0x0506, 0x0708]
        );
        assert_eq!(bits.take(8), 9);
        assert!(bits.check().is_ok());
    }

    #[test]
    fn an_oversubscribed_table_is_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3]).is_err());
    }
}
