//! The identity of a virtual machine.

use std::fmt;

/// A UUID as sixteen bytes, in the order in which vCenter writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Reads `42345678-9abc-…` or the same digits without dashes, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 32 && text.len() != 36 {
            return None;
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (position, c) in text.char_indices() {
            if c == '-' && text.len() == 36 && matches!(position, 8 | 13 | 18 | 23) {
                continue;
            }
            let value = u8::try_from(c.to_digit(16)?).ok()?;
            let byte = bytes.get_mut(digits / 2)?;
            *byte = *byte << 4 | value;
            digits += 1;
        }
        (digits == 32).then_some(Self(bytes))
    }

    /// The same identity in the other byte order of its first three fields.
    ///
    /// Virtual hardware before version 13 shows the guest its BIOS UUID in this order, so that a Node's
    /// `systemUUID` is either one or the other.
    pub fn swapped(self) -> Self {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_with_and_without_dashes_and_written_one_way() {
        let written = "4230a8f3-1c4e-7d21-9f60-0123456789ab";
        assert_eq!(Uuid::parse(written).unwrap().to_string(), written);
        assert_eq!(Uuid::parse("4230A8F31C4E7D219F600123456789AB").unwrap().to_string(), written);
    }

    #[test]
    fn what_is_not_a_uuid_is_none() {
        for text in [
            "",
            "4230a8f3",
            "4230a8f3-1c4e-7d21-9f60-0123456789ag",
            "4230a8f31-c4e-7d21-9f60-0123456789ab",
            "-230a8f31c4e7d219f600123456789ab",
            "4230a8f3-1c4e-7d21-9f60-0123456789a\u{e9}",
            "------------------------------------",
        ] {
            assert_eq!(Uuid::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn swapping_twice_is_the_same_identity() {
        let uuid = Uuid::parse("4230a8f3-1c4e-7d21-9f60-0123456789ab").unwrap();
        assert_eq!(uuid.swapped().to_string(), "f3a83042-4e1c-217d-9f60-0123456789ab");
        assert_eq!(uuid.swapped().swapped(), uuid);
    }
}
