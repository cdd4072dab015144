//! A new file in `static/` must find its way into the executable.

fn main() {
    println!("cargo:rerun-if-changed=static");
    println!("cargo:rerun-if-changed=schema.sql");
}
