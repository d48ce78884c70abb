//! Decides whether routines have stacks of ours or OS threads of their own: the cfg `portable`.
//!
//! What is written for Linux on these machines is used there alone; everything else, and every build with
//! the feature `portable`, has the parts that need nothing but the standard library.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(portable)");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let served = target("OS") == "linux"
        && target("POINTER_WIDTH") == "64"
        && matches!(&*target("ARCH"), "x86_64" | "aarch64" | "riscv64");
    if !served || env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        println!("cargo::rustc-cfg=portable");
    }
}
