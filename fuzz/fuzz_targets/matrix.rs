#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| vdo_fuzz::matrix(text));
