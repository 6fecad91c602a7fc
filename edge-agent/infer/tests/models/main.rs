//! The runtime with tiny models made on the spot.

mod onnx;

use eyot_infer::{Element, Error, Model, Runtime, Tensor};
use eyot_model::Digest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn row(values: &[f32]) -> Tensor {
    Tensor::from_f32(&[1, values.len()], values)
}

#[test]
fn a_model_computes_for_every_shape_it_takes() {
    let model = Model::read(&onnx::doubling()).unwrap();
    // More shapes than plans are kept, and the first ones again.
    for n in (1..=20).chain(1..=3) {
        let values: Vec<f32> = (0..n).map(|v| v as f32).collect();
        let outputs = model.compute(vec![row(&values)]).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].shape, [1, n]);
        let expected: Vec<f32> = values.iter().map(|v| 2.0 * v + 1.0).collect();
        assert_eq!(outputs[0].to_f32(), Some(expected));
    }
}

#[test]
fn metadata_of_a_model_can_be_read() {
    let model = Model::read(&onnx::doubling()).unwrap();
    assert_eq!(model.metadata("words"), Some("one two three"));
    assert_eq!(model.metadata("other"), None);
    assert_eq!(model.input_names().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn outputs_of_other_types_are_widened() {
    let model = Model::read(&onnx::less()).unwrap();
    let outputs = model.compute(vec![row(&[1.0, 3.0]), row(&[2.0, 2.0])]).unwrap();
    assert_eq!((outputs[0].element, &outputs[0].data[..]), (Element::U8, &[1, 0][..]));
}

#[test]
fn inputs_that_do_not_fit_are_refused_before_the_model_runs() {
    let model = Model::read(&onnx::less()).unwrap();
    let good = row(&[1.0, 2.0]);
    let integers = Tensor {
        element: Element::I32,
        ..good.clone()
    };
    let short = Tensor {
        data: vec![0; 7],
        ..good.clone()
    };
    for (what, inputs) in [
        ("none", vec![]),
        ("too few", vec![good.clone()]),
        ("too many", vec![good.clone(), good.clone(), good.clone()]),
        ("wrong type", vec![good.clone(), integers]),
        ("wrong rank", vec![good.clone(), Tensor::from_f32(&[2], &[1.0, 2.0])]),
        ("wrong fixed dimension", vec![good.clone(), Tensor::from_f32(&[2, 1], &[1.0, 2.0])]),
        ("wrong length", vec![good.clone(), short]),
    ] {
        let error = model.compute(inputs).map(drop).unwrap_err();
        assert!(matches!(error, Error::BadInput(_)), "{what}: {error}");
    }
    // Only the model itself knows that its inputs have to be of one shape.
    assert!(model.compute(vec![good.clone(), row(&[1.0, 2.0, 3.0])]).is_err());
    model.compute(vec![good.clone(), good]).unwrap();
}

#[test]
fn what_is_no_model_is_refused() {
    let whole = onnx::doubling();
    let mut cases: Vec<Vec<u8>> = vec![vec![], b"hello".to_vec(), vec![0xff; 100]];
    // Cut and flipped at every place: refused, or a model that still computes, never a panic.
    cases.extend((0..whole.len()).map(|n| whole[..n].to_vec()));
    cases.extend((0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x15;
        bytes
    }));
    for bytes in cases {
        if let Ok(model) = Model::read(&bytes) {
            drop(model.compute(vec![row(&[1.0])]));
        }
    }
    assert!(matches!(Model::read(b"hello"), Err(Error::BadModel(_))));
}

#[test]
fn a_model_cannot_read_files_of_the_agent() {
    for path in ["/etc/hostname", "Cargo.toml", "../Cargo.toml"] {
        let error = Model::read(&onnx::with_external_data(path)).map(drop).unwrap_err();
        assert!(matches!(error, Error::BadModel(_)), "{error}");
    }
}

#[test]
fn a_model_is_read_once_and_shared() {
    let runtime = Runtime::new(1 << 20);
    let bytes = onnx::doubling();
    let digest = Digest::of(&bytes);
    assert!(runtime.get(&digest).is_none());
    let reads = AtomicU32::new(0);
    let models: Vec<Arc<Model>> = std::thread::scope(|scope| {
        let load = || {
            runtime.load(digest, || {
                reads.fetch_add(1, Ordering::Relaxed);
                Ok(bytes.clone())
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
    assert!(runtime.get(&digest).is_some_and(|model| Arc::ptr_eq(&model, &models[0])));
}

#[test]
fn the_longest_unused_models_go_first() {
    let bytes = onnx::doubling();
    let digests: Vec<Digest> = (0u8..3).map(|n| Digest::of(&[n])).collect();
    // Room for two.
    let runtime = Runtime::new(2 * bytes.len() as u64);
    for digest in &digests[..2] {
        runtime.load(*digest, || Ok(bytes.clone())).unwrap();
    }
    assert!(runtime.get(&digests[0]).is_some());
    runtime.load(digests[2], || Ok(bytes.clone())).unwrap();
    assert_eq!(runtime.loaded(), [digests[0], digests[2]]);
}

#[test]
fn a_failure_to_load_is_not_remembered() {
    let runtime = Runtime::new(1 << 20);
    let bytes = onnx::doubling();
    let digest = Digest::of(&bytes);
    let cut = Error::Failed("the blob was not there".to_owned());
    assert_eq!(runtime.load(digest, || Err(cut.clone())).map(drop), Err(cut));
    assert!(runtime.loaded().is_empty());
    runtime.load(digest, || Ok(bytes)).unwrap();
}
