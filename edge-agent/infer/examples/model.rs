//! Runs a model on zeros of a shape, and prints what it takes and how long:
//!
//! `cargo run --release -p eyot-infer --example model -- model.onnx 1,3,48,320`

use eyot_infer::{Model, Tensor};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the path of an ONNX model")?;
    let start = Instant::now();
    let model = Model::read(&std::fs::read(path)?)?;
    println!(
        "read in {:?}; inputs {:?}",
        start.elapsed(),
        model.input_names().collect::<Vec<_>>()
    );
    if let Some(words) = model.metadata("character") {
        println!("metadata `character` has {} lines", words.lines().count());
    }
    for shape in arguments {
        let shape: Vec<usize> = shape.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let input = Tensor::from_f32(&shape, &vec![0.0; shape.iter().product()]);
        for _ in 0..4 {
            let start = Instant::now();
            let outputs = model.compute(vec![input.clone()])?;
            let shapes: Vec<_> = outputs.iter().map(|output| &output.shape).collect();
            println!("{shape:?} -> {shapes:?} in {:?}", start.elapsed());
        }
    }
    Ok(())
}
