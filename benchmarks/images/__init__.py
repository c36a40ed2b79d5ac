"""Images to train and score with: read once into memory as uint8 tensors, split by seed, class-balanced."""

from supertau.benchmarks.images.problem import load_problem_images
from supertau.benchmarks.images.source import IMAGES, ImageSource
from supertau.benchmarks.images.split import split

register = IMAGES.register

__all__ = ["IMAGES", "ImageSource", "load_problem_images", "register", "split"]
