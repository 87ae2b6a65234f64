#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vigie_fuzz::run("tcp_versions", data));
