//! The `panoply` binary.

// Training allocates and frees large tensors each step; mimalloc keeps the pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    panoply_runner::main(std::env::args_os())
}
