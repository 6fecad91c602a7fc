//! A task that opens a connection, which no grant gives.
// Its exports have names that only WebAssembly knows: on other targets this is an empty crate.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../../../sdk/wit", world: "eyot-task" });

use exports::eyot::task::task::{Description, Failure, Guest, NamedValue};

struct Socket;

impl Guest for Socket {
    fn describe() -> Description {
        unreachable!("it does not start")
    }

    fn run(_inputs: Vec<NamedValue>) -> Result<Vec<NamedValue>, Failure> {
        let connected = std::net::TcpStream::connect("127.0.0.1:9").is_ok();
        panic!("connected: {connected}");
    }
}

export!(Socket);
