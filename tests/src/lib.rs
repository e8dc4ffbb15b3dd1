//! Tests that cross two programs. Everything is in `tests/`; this library is empty.
