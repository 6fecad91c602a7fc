//! The one engine of the agent and its configuration.

use crate::Error;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Version of the engine; part of the name of what is cached. Code of another version is refused by the engine itself,
/// the name only keeps the two apart.
pub(crate) const ENGINE_VERSION: &str = "wasmtime-48.0.8";

/// Grows with each change of [`base`] that changes compiled code.
const FLAGS_VERSION: u32 = 1;

/// Host stack that a guest may use, in bytes. Threads that call [`crate::Host::run`] need this and 512 KiB more.
const MAX_WASM_STACK: usize = 1 << 20;

/// Core instances, tables and memories of one component: components made from Python have more than ten.
const PER_COMPONENT: u32 = 32;
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Memories in the pool for each instance; most components have one. Each reserves 4 GiB of addresses, of which small
/// devices have as few as 512 GiB.
const MEMORIES_PER_INSTANCE: u32 = 2;

/// Memory kept with an unused slot instead of given back to the system: enough for a small component, so that starting
/// it again takes few page faults.
const KEEP_RESIDENT: usize = 256 << 10;

/// What the child that compiles and the agent that runs must agree on.
fn base() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(2 * MAX_WASM_STACK)
        // A task says where it failed by its panic message; addresses in stripped code say nothing.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}

/// The engine that compiles; lives in the child process alone.
pub(crate) fn compiling() -> Result<Engine, Error> {
    let mut config = base();
    config.allocation_strategy(pool(1));
    Engine::new(&config).map_err(|e| Error::Engine(format!("{e:#}")))
}

/// The engine that runs: without a compiler, so that hostile bytes never meet one in the agent's own process.
pub(crate) fn running(instances: u32) -> Result<Engine, Error> {
    let mut config = base();
    config.enable_compiler(false).allocation_strategy(pool(instances));
    Engine::new(&config).map_err(|e| Error::Engine(format!("{e:#}")))
}

/// Room for `instances` components at once. This reserves addresses (4 GiB for each memory), not memory.
fn pool(instances: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(PER_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(PER_COMPONENT))
        .total_stacks(instances)
        .max_core_instances_per_component(PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(PER_COMPONENT)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(64 << 10)
        .max_memory_size(4 << 30)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Digest of all that compiled code depends on besides the component: engine, flags, target and the CPU's features.
pub(crate) fn flags_digest() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("eyot 2026 compiled code flags");
    hasher.update(ENGINE_VERSION.as_bytes());
    hasher.update(&FLAGS_VERSION.to_le_bytes());
    for word in [std::env::consts::ARCH, std::env::consts::OS] {
        hasher.update(word.as_bytes()).update(&[0]);
    }
    hasher.update(cpu_features().as_bytes());
    *hasher.finalize().as_bytes()
}

/// The features that Cranelift's native detection looks at, as one line.
fn cpu_features() -> String {
    #[allow(unused_mut, reason = "stays empty on architectures without a list")]
    let mut features = String::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! note {
            ($($name:tt),*) => { $( if std::arch::is_x86_feature_detected!($name) { features.push_str(concat!($name, " ")); } )* };
        }
        note!(
            "sse3",
            "ssse3",
            "sse4.1",
            "sse4.2",
            "popcnt",
            "avx",
            "avx2",
            "fma",
            "bmi1",
            "bmi2",
            "avx512bitalg",
            "avx512dq",
            "avx512f",
            "avx512vl",
            "avx512vbmi",
            "lzcnt",
            "cmpxchg16b"
        );
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! note {
            ($($name:tt),*) => { $( if std::arch::is_aarch64_feature_detected!($name) { features.push_str(concat!($name, " ")); } )* };
        }
        note!("lse", "paca", "fp16");
    }
    features
}
