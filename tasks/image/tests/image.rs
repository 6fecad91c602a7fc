//! The task as an agent calls it, in memory.

use eyot_task::testing::Host;
use eyot_task::{Blob, FailureKind, Outputs, Task};
use eyot_task_image::ImageTask;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use std::io::Cursor;

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, if x < width / 2 { 0 } else { 200 }]))
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture.clone()).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn bytes_of(outputs: &Outputs) -> Vec<u8> {
    let blob: Blob = serde_json::from_value(outputs["image"].clone()).unwrap();
    blob.read_all(1 << 24).unwrap()
}

fn run(host: &Host, bytes: &[u8], mut inputs: Value) -> Result<Outputs, eyot_task::Failure> {
    inputs["image"] = json!(host.blob(bytes));
    host.run::<ImageTask>(inputs)
}

#[test]
fn without_wishes_a_picture_is_only_normalised() {
    let host = Host::new();
    let image = picture(40, 30);
    let outputs = run(&host, &encoded(&image, ImageFormat::Bmp), json!({})).unwrap();
    assert_eq!(outputs["format"], "png");
    assert_eq!(outputs["source"], json!({"format": "bmp", "width": 40, "height": 30}));
    assert!(!outputs.contains_key("statistics"));
    assert_eq!(image::load_from_memory(&bytes_of(&outputs)).unwrap().into_rgb8(), image);
    let raw = run(&host, &encoded(&image, ImageFormat::Png), json!({"format": "rgb"})).unwrap();
    assert_eq!(&bytes_of(&raw), image.as_raw());
    let jpeg = run(&host, &encoded(&image, ImageFormat::Png), json!({"format": "jpeg", "quality": 40})).unwrap();
    assert_eq!(image::guess_format(&bytes_of(&jpeg)).unwrap(), ImageFormat::Jpeg);
}

#[test]
fn sizes_follow_the_wish() {
    let host = Host::new();
    let bytes = encoded(&picture(40, 30), ImageFormat::Png);
    for (resize, width, height) in [
        (json!({"longest": 20}), 20, 15),
        (json!({"longest": 400}), 40, 30),
        (json!({"width": 80}), 80, 60),
        (json!({"height": 15, "filter": "nearest"}), 20, 15),
        (json!({"width": 20, "height": 20}), 20, 15),
        (json!({"width": 20, "height": 20, "fit": "cover", "filter": "linear"}), 20, 20),
        (json!({"width": 20, "height": 20, "fit": "stretch", "filter": "cubic"}), 20, 20),
        (json!({"width": 20.0}), 20, 15),
    ] {
        let outputs = run(&host, &bytes, json!({"resize": resize})).unwrap();
        assert_eq!((&outputs["width"], &outputs["height"]), (&json!(width), &json!(height)), "{resize}");
    }
}

#[test]
fn parts_are_cut_out() {
    let host = Host::new();
    let image = picture(40, 30);
    let bytes = encoded(&image, ImageFormat::Png);
    let boxed = run(
        &host,
        &bytes,
        json!({"crop": {"x": 5, "y": 6, "width": 10, "height": 8}, "format": "rgb"}),
    )
    .unwrap();
    let quad = json!({"quad": [[5, 6], [15, 6], [15, 14], [5, 14]]});
    let quad = run(&host, &bytes, json!({"crop": quad, "format": "rgb"})).unwrap();
    assert_eq!(bytes_of(&boxed), bytes_of(&quad));
    assert_eq!(bytes_of(&boxed)[..3], image.get_pixel(5, 6).0);
}

#[test]
fn statistics_are_those_of_the_new_picture() {
    let host = Host::new();
    let bytes = encoded(&picture(40, 30), ImageFormat::Png);
    let crop = json!({"x": 0, "y": 0, "width": 40, "height": 2});
    let outputs = run(&host, &bytes, json!({"statistics": true, "crop": crop})).unwrap();
    let statistics = &outputs["statistics"];
    assert_eq!(statistics["blue"]["mean"], 100.0);
    assert_eq!(statistics["blue"]["std"], 100.0);
    assert_eq!(statistics["green"]["max"], 1);
    assert_eq!(statistics["red"]["histogram"][39], 2);
    assert_eq!(statistics["red"]["mean"], 19.5);
}

#[test]
fn what_is_wrong_is_said_and_is_the_callers_mistake() {
    let host = Host::new();
    let png = encoded(&picture(40, 30), ImageFormat::Png);
    let jpeg = encoded(&picture(40, 30), ImageFormat::Jpeg);
    for (bytes, inputs, message) in [
        (&png[..png.len() - 40], json!({}), "the png picture is cut off"),
        (&jpeg[..jpeg.len() / 2], json!({}), "the jpeg picture is cut off"),
        (b"hello", json!({}), "not a picture that can be read"),
        (&png, json!({"max_pixels": 1000}), "40 x 30 pixels, more than the 1000"),
        (&png, json!({"resize": {}}), "expected `width`, `height` or `longest`"),
        (&png, json!({"resize": {"longest": 5, "width": 3}}), "`longest` stands alone"),
        (&png, json!({"resize": {"width": 0}}), "found 0 x"),
        (
            &png,
            json!({"resize": {"width": 4_000_000_000u32}}),
            "expected 1 to 24000000 pixels",
        ),
        (
            &png,
            json!({"resize": {"width": 3, "fit": "cover"}}),
            "`fit` needs `width` and `height`",
        ),
        (&png, json!({"resize": {"with": 3}}), "input `resize"),
        (
            &png,
            json!({"crop": {"x": 35, "y": 0, "width": 6, "height": 1}}),
            "expected a box within 40 x 30",
        ),
        (&png, json!({"crop": {"quad": [[0, 0], [9, 9], [9, 0], [0, 9]]}}), "convex"),
        (&png, json!({"quality": 0}), "expected 1 to 100, found 0"),
        (&png, json!({"format": "webp"}), "unknown variant `webp`"),
    ] {
        let failure = run(&host, bytes, inputs.clone()).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::InvalidInput, "{inputs}: {failure}");
        assert!(failure.message().contains(message), "{inputs}: {failure}");
    }
}

#[test]
fn it_says_what_it_takes() {
    let description = ImageTask::describe();
    assert_eq!(description.name, "eyot/image");
    assert_eq!(description.inputs["required"], json!(["image"]));
    assert!(description.needs.is_empty());
}
