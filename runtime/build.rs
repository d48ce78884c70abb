//! Decides whether routines have stacks of ours or OS threads of their own: the cfg `portable`. And whether
//! they have neither: the cfg `stackless`, which says more than `portable`.
//!
//! What is written for Linux on these machines is used there alone; everything else, and every build with
//! the feature `portable`, has the parts that need nothing but the standard library. WebAssembly has one stack and
//! one thread.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(portable)");
    println!("cargo::rustc-check-cfg=cfg(stackless)");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let served = target("OS") == "linux"
        && target("POINTER_WIDTH") == "64"
        && matches!(&*target("ARCH"), "x86_64" | "aarch64" | "riscv64");
    if !served || env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        println!("cargo::rustc-cfg=portable");
    }
    if target("FAMILY").split(',').any(|family| family == "wasm") {
        println!("cargo::rustc-cfg=stackless");
    }
}
