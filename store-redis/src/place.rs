//! Where keys are stored. All keys of one script share a tag, the part in braces, and with it a slot of a Cluster.

/// Keys that share a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The store's own record.
    Store,
    Integrations,
    Keys,
    Attempts,
    Usage,
    /// The connections of a bucket, and everything about them.
    Connections(u16),
}

impl Place {
    pub(crate) fn tag(self) -> String {
        match self {
            Self::Store => "s".to_owned(),
            Self::Integrations => "i".to_owned(),
            Self::Keys => "k".to_owned(),
            Self::Attempts => "p0".to_owned(),
            Self::Usage => "u0".to_owned(),
            Self::Connections(bucket) => format!("c{bucket}"),
        }
    }

    /// The slot of the tag (Redis Cluster specification, "Hash tags").
    pub(crate) fn slot(self) -> u16 {
        const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
        CRC.checksum(self.tag().as_bytes()) % 16384
    }
}
