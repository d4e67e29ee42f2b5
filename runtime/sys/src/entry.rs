//! Where the program `brig` begins: before libc, before relocation, before Rust.
//!
//! `create`, `run`, `exec` and `try` execute brig anew from a read-only clone of its mount, so that
//! no container can write its program (CVE-2019-5736). By the time that `main` could do so, a
//! start has paid for relocations, libc's and Rust's set-up, which it then pays again. So the program's
//! entry point tries it first, in four system calls and without touching memory but the stack. It
//! saves 4 to 6 % of a start (docs/performance.md, "Shortcuts").
//!
//! It must never decide: whatever it cannot do, and whatever it is not sure of, is left as it is,
//! and `main` looks at the outcome (`self_protection` of brig-cli), never at this having run.
//! It may run before relocation: no libc, no static data that holds a pointer.
//!
//! The linker is told of `brig_entry` by the build script of the package `brig-cli`.
//! Other architectures begin at libc's `_start` and are protected in `main`.

// The System V ABI, "Process Initialization": at entry, rsp points to argc, argv, NULL, envp, NULL,
// and rdx holds what the dynamic linker wants called at exit. All else is free for use.
//
// The four bytes that are compared with a verb lie in the strings of the arguments, or in what the
// kernel puts behind them (environment, file name, eight bytes of zero).
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .text.brig_entry, \"ax\", @progbits",
    ".globl brig_entry",
    ".type brig_entry, @function",
    "brig_entry:",
    "   mov r12, rsp",
    "   mov r13, rdx",
    "   lea r14, [rsp + 8]", // argv
    "   mov rbx, r14",
    "   sub rsp, 128", // room for a path of two bytes, and for struct mount_attr
    // Is there a verb that makes a process of a container? A file of that name does no harm.
    "2: mov rax, [rbx]",
    "   add rbx, 8",
    "   test rax, rax",
    "   jz 9f",
    "   mov eax, [rax]",
    "   cmp eax, 0x006e7572", // "run"
    "   je 3f",
    "   cmp eax, 0x00797274", // "try"
    "   je 3f",
    "   cmp eax, 0x63657865", // "exec"
    "   je 3f",
    "   cmp eax, 0x61657263", // "crea"
    "   jne 2b",
    // readlink(2): a path of one byte is that of a detached mount (`self_protection` of brig-cli),
    // and a failure leaves it all to `main`.
    "3: mov eax, {readlink}",
    "   lea rdi, [rip + 7f]",
    "   mov rsi, rsp",
    "   mov edx, 2",
    "   syscall",
    "   cmp eax, 2",
    "   jne 9f",
    "   mov eax, {open_tree}",
    "   mov rdi, {cwd}",
    "   lea rsi, [rip + 7f]",
    "   mov edx, {clone}",
    "   syscall",
    "   test eax, eax",
    "   js 9f",
    "   mov ebp, eax",
    "   mov qword ptr [rsp], 1", // struct mount_attr: MOUNT_ATTR_RDONLY is set,
    "   mov qword ptr [rsp + 8], 0", // nothing is cleared,
    "   mov qword ptr [rsp + 16], 0", // the propagation stays,
    "   mov qword ptr [rsp + 24], 0", // and no ids are mapped
    "   mov eax, {mount_setattr}",
    "   mov edi, ebp",
    "   lea rsi, [rip + 8f]",
    "   mov edx, {empty_path}",
    "   mov r10, rsp",
    "   mov r8d, 32",
    "   syscall",
    "   test eax, eax",
    "   jnz 4f",
    "   mov eax, {execveat}",
    "   mov edi, ebp",
    "   lea rsi, [rip + 8f]",
    "   mov rdx, r14",
    "   mov r10, [r12]",
    "   lea r10, [r14 + r10*8 + 8]", // envp, after argc pointers and a null
    "   mov r8d, {empty_path}",
    "   syscall",
    "4: mov eax, {close}",
    "   mov edi, ebp",
    "   syscall",
    // As if nothing had been.
    "9: mov rsp, r12",
    "   mov rdx, r13",
    "   jmp _start",
    "7: .asciz \"/proc/self/exe\"",
    "8: .asciz \"\"",
    ".size brig_entry, . - brig_entry",
    ".popsection",
    readlink = const libc::SYS_readlink,
    open_tree = const libc::SYS_open_tree,
    mount_setattr = const libc::SYS_mount_setattr,
    execveat = const libc::SYS_execveat,
    close = const libc::SYS_close,
    cwd = const libc::AT_FDCWD,
    // OPEN_TREE_CLONE of linux/mount.h, with OPEN_TREE_CLOEXEC.
    clone = const 1 | libc::O_CLOEXEC,
    empty_path = const libc::AT_EMPTY_PATH,
);
