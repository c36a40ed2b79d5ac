"""The table of files the suite can use but does not ship: where each belongs, its address, size and checksum."""

from __future__ import annotations

from dataclasses import dataclass

_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_DRIVE = "https://drive.google.com/file/d/"


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    path: below the cache folder; address: direct link, or the page to get it from by hand when manual; size: bytes,
    None when not published; checksum: 'md5:...' or 'sha256:...', None when none is published; claimed_by: who says
    so; unpack: whether the archive is unpacked beside itself; flatten: whether without its folders.
    """

    path: str
    address: str
    size: int | None = None
    checksum: str | None = None
    claimed_by: str = "its authors"
    manual: bool = False
    unpack: bool = False
    flatten: bool = False


@dataclass(frozen=True)
class DataItem:
    """One thing a user can want: its files, and the patterns below the cache folder that show it is there.

    present: glob patterns, any of which is enough; none for image sets, which look for themselves.
    """

    key: str
    what: str
    files: tuple[RemoteFile, ...]
    licence: str
    note: str = ""
    present: tuple[str, ...] = ()

    @property
    def manual(self) -> bool:
        """Whether some file has no direct link."""
        return any(file.manual for file in self.files)


_ITEMS = (
    DataItem(
        key="cifar10",
        what="CIFAR-10: 50,000 + 10,000 images 32x32, 10 classes",
        files=(
            RemoteFile(
                "cifar10/cifar-10-python.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                170_498_071,
                "md5:c58f30108f718f92721af3b95e74349a",
                unpack=True,
            ),
        ),
        licence="none stated; cite Krizhevsky 2009",
        note="The Hugging Face hub's Parquet files (train-*.parquet, test-*.parquet) in cifar10/ do as well.",
    ),
    DataItem(
        key="cifar100",
        what="CIFAR-100: 50,000 + 10,000 images 32x32, 100 classes",
        files=(
            RemoteFile(
                "cifar100/cifar-100-python.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                169_001_437,
                "md5:eb9058c3a382ffc7106e4002c42a8d85",
                unpack=True,
            ),
        ),
        licence="none stated; cite Krizhevsky 2009",
        note="The Hugging Face hub's Parquet files (train-*.parquet, test-*.parquet) in cifar100/ do as well.",
    ),
    DataItem(
        key="fashion-mnist",
        what="Fashion-MNIST: 60,000 + 10,000 images 28x28, 10 classes",
        files=(
            RemoteFile(
                "fashion-mnist/train-images-idx3-ubyte.gz",
                _FASHION + "train-images-idx3-ubyte.gz",
                26_421_880,
                "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            RemoteFile(
                "fashion-mnist/train-labels-idx1-ubyte.gz",
                _FASHION + "train-labels-idx1-ubyte.gz",
                29_515,
                "md5:25c81989df183df01b3e8a0aad5dffbe",
            ),
            RemoteFile(
                "fashion-mnist/t10k-images-idx3-ubyte.gz",
                _FASHION + "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "md5:bef4ecab320f06d8554ea6380940ec79",
            ),
            RemoteFile(
                "fashion-mnist/t10k-labels-idx1-ubyte.gz",
                _FASHION + "t10k-labels-idx1-ubyte.gz",
                5_148,
                "md5:bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
        licence="MIT",
        note="The files of Debian's package dataset-fashion-mnist do as well, where it installs them.",
    ),
    DataItem(
        key="imagenet16-120",
        what="ImageNet16-120: 151,700 + 6,000 images 16x16, the first 120 classes of down-sampled ImageNet",
        files=tuple(
            RemoteFile(
                f"imagenet16-120/{name}",
                "https://image-net.org/download-images",
                checksum=f"md5:{md5}",
                claimed_by="the authors of NAS-Bench-201",
                manual=True,
            )
            for name, md5 in (
                ("train_data_batch_1", "27846dcaa50de8e21a7d1a35f30f0e91"),
                ("train_data_batch_2", "c7254a054e0e795c69120a5727050e3f"),
                ("train_data_batch_3", "4333d3df2e5ffb114b05d2ffc19b1e87"),
                ("train_data_batch_4", "1620cdf193304f4a92677b695d70d10f"),
                ("train_data_batch_5", "348b3c2fdbb3940c4e9e834affd3b18d"),
                ("train_data_batch_6", "6e765307c242a1b3d7d5ef9139b48945"),
                ("train_data_batch_7", "564926d8cbf8fc4818ba23d2faac7564"),
                ("train_data_batch_8", "f4755871f718ccb653440b9dd0ebac66"),
                ("train_data_batch_9", "bb6dd660c38c58552125b1a92f86b5d4"),
                ("train_data_batch_10", "8f03f34ac4b42271a294f91bf480f29b"),
                ("val_data", "3410e3017fdaefba8d5073aaa65e4bd6"),
            )
        ),
        licence="ImageNet terms of access: non-commercial research",
        note="Needs an account: take 'Download downsampled image data (16x16)', train and val, as Python batches.",
    ),
    DataItem(
        key="nasbench201",
        what="NAS-Bench-201 v1.1, the official table with every training seed and epoch",
        files=(
            RemoteFile(
                "nb201/NAS-Bench-201-v1_1-096897.pth", f"{_DRIVE}16Y0UwGisiouVRxW-W5hEtbxmcHw_0hF_/view", manual=True
            ),
        ),
        licence="MIT",
        note="About 4.7 GB on Google Drive, without a direct link; an installed package has a smaller table.",
        present=("nb201/NAS-Bench-201-*.pth",),
    ),
    DataItem(
        key="nats-tss",
        what="NATS-Bench, topology: the NAS-Bench-201 space retrained",
        files=(
            RemoteFile(
                "nb201/NATS-tss-v1_0-3ffb9-simple.tar", f"{_DRIVE}17_saCsj_krKjlCBLOJEpNtzPXArMCqxU/view", manual=True
            ),
        ),
        licence="MIT",
        note="On Google Drive, without a direct link; unpack the archive where it lies.",
        present=("nb201/**/NATS-tss-*-simple", "nb201/NATS-tss-*.pickle.pbz2"),
    ),
    DataItem(
        key="nasbench301",
        what="NAS-Bench-301 surrogate models v1.0",
        files=(
            RemoteFile(
                "nb301/nasbench301_models_v1.0.zip",
                "https://ndownloader.figshare.com/files/24992018",
                1_848_669_012,
                "sha256:e807411d6a454841965d3157a977896683b716dc48743049bd6be0ce94210824",
                claimed_by="a third party, not its authors",
                unpack=True,
            ),
        ),
        licence="see https://figshare.com/articles/software/nasbench301_models_v1_0_zip/13061510",
        present=("nb301/**/xgb_v1.0", "nb301/**/xgb_v0.9"),
    ),
    DataItem(
        key="nds",
        what="NDS: over 100,000 trained networks (Radosavovic et al. 2019)",
        files=(RemoteFile("nds/data.zip", "https://dl.fbaipublicfiles.com/nds/data.zip", unpack=True, flatten=True),),
        licence="MIT",
        present=("nds/*.json",),
    ),
)

DATA: dict[str, DataItem] = {item.key: item for item in _ITEMS}
