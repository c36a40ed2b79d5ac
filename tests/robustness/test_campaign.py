from pathlib import Path
from . import kills
def test_kills(tmp_path: Path) -> None:
    rows = kills.campaign(3, 0, tmp_path, methods=("spos", "pinas"))
    assert not [r for r in rows if r.short], rows
    assert sum(r.tried for r in rows)==3
