//! `checkpoint`: a task's own saved state.

use super::State;
use crate::bindings::eyot::task::checkpoint::Host;

/// Most bytes of one state: it travels with the task.
const MAX_STATE_BYTES: usize = 16 << 20;

impl Host for State {
    fn save(&mut self, state: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        if state.len() > MAX_STATE_BYTES {
            return Ok(Err(format!(
                "the state has {} bytes, over the limit of {MAX_STATE_BYTES}",
                state.len()
            )));
        }
        Ok(self.services.save_checkpoint(&state).map_err(|e| e.to_string()))
    }

    fn load(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.services.load_checkpoint()?)
    }
}
