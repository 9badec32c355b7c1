"""What a build leaves out of a source."""

from shards_tools.build import BuildOptions, build
from shards_tools.sources import folder


def test_broken_images_of_shards_only_for_evaluation_are_left_out_too(tmp_path, make_picture):
    for name in ("a", "b"):
        (tmp_path / "pictures/test" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / f"pictures/test/{name}/{number}.png").write_bytes(make_picture(ord(name) * 10 + number))
    (tmp_path / "pictures/test/a/0.png").write_bytes(b"broken")
    manifest = build(folder.scan(tmp_path / "pictures"), tmp_path / "out", BuildOptions(on_error="skip"))
    assert [manifest.works[work] for work in manifest.work] == ["a", "a", "b", "b", "b"]
    assert manifest.notes == (
        "the source has no train, so these shards are only for evaluation",
        "left out: 1 broken image",
    )
