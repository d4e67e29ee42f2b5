//! Device numbers as mknod(2) takes them: 12 bits of a major and 20 of a minor number.
//!
//! Reference: linux/kdev_t.h, `new_encode_dev`.

/// The number for mknod(2).
#[must_use]
pub const fn encode(major: u32, minor: u32) -> u64 {
    ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)) as u64
}

/// Major and minor number of it.
#[must_use]
pub const fn decode(device: u64) -> (u32, u32) {
    let device = device as u32;
    (device >> 8 & 0xfff, device & 0xff | device >> 12 & !0xff)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn numbers_are_the_kernels_and_come_back() {
        // /dev/null, /dev/nvme0n1p1 and the largest of both.
        for (major, minor, number) in
            [(1, 3, 0x103), (259, 300, 0x0011_032c), (0xfff, 0xf_ffff, 0xffff_ffff)]
        {
            assert_eq!(encode(major, minor), number);
            assert_eq!(decode(number), (major, minor));
        }
    }
}
