//! From the bytes of a file to pixels, within bounds.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use std::io::Cursor;

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    Bmp,
}

impl Format {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Bmp => "bmp",
        }
    }
}

/// Why bytes are no picture that can be used.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the picture is empty")]
    Empty,
    #[error("not a picture that can be read (png, jpeg or bmp): it begins with {0}")]
    UnknownFormat(String),
    #[error("the {format} picture has {width} x {height} pixels, more than the {max} that are allowed")]
    TooLarge {
        format: &'static str,
        width: u32,
        height: u32,
        max: u64,
    },
    #[error("the {format} picture needs more memory than its {max} pixels allow")]
    TooMuchMemory { format: &'static str, max: u64 },
    #[error("the {0} picture is cut off: its end is missing")]
    CutOff(&'static str),
    #[error("the {format} picture is damaged: {reason}")]
    Damaged { format: &'static str, reason: String },
}

/// A decoded picture.
pub struct Decoded {
    pub format: Format,
    /// Turned upright as the camera noted; what was transparent is white.
    pub image: RgbImage,
}

/// Decodes a picture of at most `max_pixels`. The size is read, and refused, before room is made for the pixels.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => Format::Png,
        Ok(ImageFormat::Jpeg) => Format::Jpeg,
        Ok(ImageFormat::Bmp) => Format::Bmp,
        Ok(_) | Err(_) => return Err(DecodeError::UnknownFormat(first_bytes(bytes))),
    };
    let name = format.name();
    let failed = |error: ImageError| explain(name, max_pixels, &error);

    if format == Format::Jpeg && jpeg_is_cut_off(bytes) {
        return Err(DecodeError::CutOff(name));
    }
    let kind = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Bmp => ImageFormat::Bmp,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(4).saturating_add(1 << 20));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge {
            format: name,
            width,
            height,
            max: max_pixels,
        });
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(Decoded {
        format,
        image: on_white(image),
    })
}

fn first_bytes(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    hex.join(" ")
}

fn explain(format: &'static str, max: u64, error: &ImageError) -> DecodeError {
    if matches!(error, ImageError::Limits(_)) {
        return DecodeError::TooMuchMemory { format, max };
    }
    let mut reason = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::UnexpectedEof
        {
            return DecodeError::CutOff(format);
        }
        // The outermost text only says that decoding failed.
        reason = cause.to_string();
        next = cause.source();
    }
    if reason.to_ascii_lowercase().contains("unexpected eof") || reason.to_ascii_lowercase().contains("end of file") {
        return DecodeError::CutOff(format);
    }
    DecodeError::Damaged { format, reason }
}

/// The decoder fills what is missing of a JPEG with grey. Whole files have an end marker behind the last scan.
fn jpeg_is_cut_off(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    match (last(0xd9), last(0xda)) {
        (Some(end), Some(scan)) => end < scan,
        (end, _) => end.is_none(),
    }
}

fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let mut opaque = RgbImage::new(image.width(), image.height());
    for (to, from) in opaque.pixels_mut().zip(image.pixels()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        let over = |channel: u32| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        *to = Rgb([over(r), over(g), over(b)]);
    }
    opaque
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgba};

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn noise(width: u32, height: u32) -> RgbImage {
        ImageBuffer::from_fn(width, height, |x, y| {
            let n = (x * 2_654_435 + y * 40_503) ^ (x * y * 97);
            Rgb([n as u8, (n >> 3) as u8, (n >> 7) as u8])
        })
    }

    #[test]
    fn all_formats_are_read_and_named() {
        for (kind, format) in [
            (ImageFormat::Png, Format::Png),
            (ImageFormat::Jpeg, Format::Jpeg),
            (ImageFormat::Bmp, Format::Bmp),
        ] {
            let decoded = decode(&encoded(noise(20, 10), kind), 200).unwrap();
            assert_eq!((decoded.format, decoded.image.dimensions()), (format, (20, 10)));
        }
    }

    #[test]
    fn a_picture_with_too_many_pixels_is_refused_before_it_is_decoded() {
        let bytes = encoded(noise(20, 10), ImageFormat::Png);
        assert!(matches!(
            decode(&bytes, 199),
            Err(DecodeError::TooLarge { width: 20, height: 10, .. })
        ));
        // A bomb: a header that promises more than any memory holds.
        let mut bomb = bytes;
        bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        assert!(decode(&bomb, 24_000_000).is_err());
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_an_error_or_a_picture_and_never_a_panic() {
        for kind in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
            let whole = encoded(noise(40, 30), kind);
            for end in (0..whole.len() - 2).step_by(7) {
                assert!(decode(&whole[..end], 10_000).is_err(), "{kind:?} cut at {end} of {}", whole.len());
            }
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0x55;
                drop(decode(&changed, 10_000));
            }
        }
    }

    #[test]
    fn the_reason_says_what_is_wrong() {
        let png = encoded(noise(40, 30), ImageFormat::Png);
        let message = |bytes: &[u8]| decode(bytes, 10_000).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(message(&png[..png.len() / 2]), "the png picture is cut off: its end is missing");
        assert_eq!(message(b""), "the picture is empty");
        assert_eq!(
            message(b"<html>"),
            "not a picture that can be read (png, jpeg or bmp): it begins with 3c 68 74 6d 6c 3e"
        );
    }

    #[test]
    fn transparent_is_white() {
        let image = ImageBuffer::from_fn(2, 1, |x, _| Rgba([10u8, 20, 30, if x == 0 { 0 } else { 255 }]));
        let decoded = decode(&encoded(image, ImageFormat::Png), 10).unwrap();
        assert_eq!(decoded.image.as_raw(), &[255, 255, 255, 10, 20, 30]);
    }
}
