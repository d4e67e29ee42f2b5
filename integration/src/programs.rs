//! Programs that no compiler of the tests' machine makes small or fast enough.

/// An ELF program for x86-64 whose main thread ends at once, while another one goes on for ever: its process is a
/// zombie (state `Z`) and lives.
pub fn without_main_thread() -> Vec<u8> {
    #[rustfmt::skip]
    const CODE: &[u8] = &[
        0xb8, 56, 0, 0, 0,             // mov eax, clone
        0xbf, 0x00, 0x0f, 0x01, 0x00,  // mov edi, VM | FS | FILES | SIGHAND | THREAD
        0x31, 0xf6, 0x31, 0xd2,        // xor esi, esi; xor edx, edx: the same stack, which none uses
        0x45, 0x31, 0xd2,              // xor r10d, r10d
        0x45, 0x31, 0xc0,              // xor r8d, r8d
        0x0f, 0x05,                    // syscall
        0x85, 0xc0, 0x74, 9,           // test eax, eax; jz the new thread
        0xb8, 60, 0, 0, 0,             // mov eax, exit
        0x31, 0xff, 0x0f, 0x05,        // xor edi, edi; syscall
        0xb8, 34, 0, 0, 0, 0x0f, 0x05, // the new thread: mov eax, pause; syscall
        0xeb, 0xf7,                    // jmp the new thread
    ];
    elf(CODE)
}

/// An ELF program for x86-64 that makes one system call, exit, with this code.
pub fn that_exits(code: u8) -> Vec<u8> {
    elf(&[
        0xb8, 60, 0, 0, 0, // mov eax, exit
        0xbf, code, 0, 0, 0, // mov edi, code
        0x0f, 0x05, // syscall
    ])
}

/// An ELF program for x86-64 that makes one system call again and again, pause.
pub fn that_pauses() -> Vec<u8> {
    elf(&[
        0xb8, 34, 0, 0, 0, // mov eax, pause
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // jmp to the start
    ])
}

/// The program whose code this is, from its first byte on.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56; // elf(5), Elf64_Ehdr and Elf64_Phdr
    let size = HEADERS + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bits, little-endian, version 1
    program.resize(16, 0);
    program.extend([2_u8, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    program.extend([BASE + HEADERS, 64, 0].map(u64::to_le_bytes).concat()); // entry, program headers, sections
    program.extend([0_u32.to_le_bytes(), [64, 0, 56, 0], [1, 0, 0, 0], [0; 4]].concat()); // sizes and counts
    program.extend([1_u32, 5].map(u32::to_le_bytes).concat()); // loaded, readable and executable
    program.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    program.extend(code);
    program
}
