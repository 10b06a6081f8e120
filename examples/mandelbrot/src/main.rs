//! Renders one horizontal slice of the Mandelbrot set, so that many machines make one picture.
//!
//! ```text
//! mandelbrot SLICE SLICES
//! ```
//!
//! reads the scene from `/in/scene.txt` (without it a default), writes the slice as `/out/slice-<SLICE>.ppm` and draws it in
//! characters on standard output. The slices in their order, one below the other, are the picture.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

const SCENE_PATH: &str = "/in/scene.txt";
const PIXELS_MAX: usize = 64_000_000;
/// Characters from the darkest to the brightest.
const SHADES: &[u8] = b" .,:;i1tfLCG08@#";
/// Rays a side for each pixel.
const SAMPLES: usize = 2;
/// A character is about twice as high as wide.
const COLUMNS: usize = 96;

/// What is to be seen, and how finely.
#[derive(Clone, Copy, Debug)]
struct Scene {
    center: (f64, f64),
    /// Width of the picture in the plane.
    span: f64,
    width: usize,
    height: usize,
    iterations: u32,
}

impl Default for Scene {
    fn default() -> Self {
        Self { center: (-0.743_643, 0.131_825), span: 0.012, width: 960, height: 600, iterations: 1200 }
    }
}

impl Scene {
    /// Lines `name value`; what is not named keeps its default.
    fn parse(text: &str) -> Result<Self, String> {
        let mut scene = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once(char::is_whitespace).ok_or_else(|| format!("`{line}` has no value"))?;
            let bad = || format!("`{value}` is no value for `{name}`");
            let float = || value.trim().parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(bad);
            let whole = || value.trim().parse::<u32>().map_err(|_| bad());
            match name {
                "center-x" => scene.center.0 = float()?,
                "center-y" => scene.center.1 = float()?,
                "span" => scene.span = float()?,
                "width" => scene.width = whole()? as usize,
                "height" => scene.height = whole()? as usize,
                "iterations" => scene.iterations = whole()?,
                _ => return Err(format!("a scene has no `{name}`")),
            }
        }
        let pixels = scene.width.checked_mul(scene.height).unwrap_or(usize::MAX);
        if pixels == 0 || pixels > PIXELS_MAX {
            return Err(format!("a picture has from 1 to {PIXELS_MAX} pixels"));
        }
        Ok(scene)
    }

    /// How bright the point of the plane at this place of the picture is: 0 inside of the set.
    fn brightness(&self, x: f64, y: f64) -> f64 {
        let scale = self.span / self.width as f64;
        let c = (
            self.center.0 + (x - self.width as f64 / 2.0) * scale,
            self.center.1 + (y - self.height as f64 / 2.0) * scale,
        );
        let mut z = (0.0f64, 0.0f64);
        for step in 0..self.iterations {
            let squares = (z.0 * z.0, z.1 * z.1);
            if squares.0 + squares.1 > 256.0 {
                let smooth = f64::from(step) + 1.0 - (squares.0 + squares.1).ln().log2() + 4.0;
                return (smooth.max(0.0) / 18.0).sqrt().fract().mul_add(0.9, 0.1);
            }
            z = (squares.0 - squares.1 + c.0, 2.0 * z.0 * z.1 + c.1);
        }
        0.0
    }

    fn pixel(&self, x: usize, y: usize) -> f64 {
        let at = |pixel: usize, sample: usize| pixel as f64 + (sample as f64 + 0.5) / SAMPLES as f64;
        let samples = (0..SAMPLES * SAMPLES).map(|i| self.brightness(at(x, i % SAMPLES), at(y, i / SAMPLES)));
        samples.sum::<f64>() / (SAMPLES * SAMPLES) as f64
    }
}

/// A smooth walk through blue, white and gold.
fn color(brightness: f64) -> [u8; 3] {
    let wave = |phase: f64| 0.5 - 0.5 * (std::f64::consts::TAU * (brightness * 0.9 + phase)).cos();
    let dim = brightness.min(0.25) * 4.0;
    [0.10, 0.0, -0.12].map(|phase| (255.0 * dim * wave(phase)) as u8)
}

fn render(slice: usize, slices: usize) -> Result<(), String> {
    let scene = match fs::read_to_string(SCENE_PATH) {
        Ok(text) => Scene::parse(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Scene::default(),
        Err(error) => return Err(format!("cannot read `{SCENE_PATH}`: {error}")),
    };
    if slices == 0 || slice >= slices || slices > scene.height {
        return Err(format!("there is no slice {slice} of {slices}"));
    }
    let rows = scene.height * slice / slices..scene.height * (slice + 1) / slices;
    let mut image = format!("P6\n{} {}\n255\n", scene.width, rows.len()).into_bytes();
    let step = (scene.width / COLUMNS).max(1);
    let mut drawing = String::new();
    for y in rows {
        let row: Vec<f64> = (0..scene.width).map(|x| scene.pixel(x, y)).collect();
        row.iter().for_each(|brightness| image.extend(color(*brightness)));
        // Lines of characters stand at the same rows of the whole picture, whatever the slices are.
        if y % (2 * step) == 0 {
            for chunk in row.chunks(step) {
                let mean = chunk.iter().sum::<f64>() / chunk.len() as f64;
                let shade = (mean * SHADES.len() as f64) as usize;
                drawing.push(char::from(SHADES[shade.min(SHADES.len() - 1)]));
            }
            let _ = writeln!(drawing);
        }
    }
    let path = format!("/out/slice-{slice}.ppm");
    fs::write(&path, image).map_err(|error| format!("cannot write `{path}`: {error}"))?;
    io::stdout().write_all(drawing.as_bytes()).map_err(|error| format!("cannot draw: {error}"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let done = match numbers[..] {
        [slice, slices] if args.len() == 2 => render(slice, slices),
        _ => Err("usage: mandelbrot SLICE SLICES".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
