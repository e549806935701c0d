from pathlib import Path

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons import notebooks
from workshop_utils.lessons.notebooks import bring_notebooks, copy_notebooks, notebook_folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "recorded").mkdir(parents=True)
    (source / ".ipynb_checkpoints").mkdir()
    (source / ".ipynb_checkpoints" / "a.ipynb").write_text("checkpoint")
    (source / "a.ipynb").write_text("a, first")
    (source / "b.ipynb").write_text("b, first")
    (source / "recorded" / "trace.json").write_text("{}")
    return source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reader").mkdir()
    return tmp_path / "reader"


def visible(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.name != notebooks.RECORD)


def test_everything_but_checkpoints_is_copied(source, folder) -> None:
    assert copy_notebooks(source, folder) == []
    assert visible(folder) == ["a.ipynb", "b.ipynb", "recorded/trace.json"]


def test_only_unchanged_files_are_brought_up_to_date(source, folder) -> None:
    copy_notebooks(source, folder)
    (folder / "a.ipynb").write_text("a, with my answers")
    (source / "a.ipynb").write_text("a, second")
    (source / "b.ipynb").write_text("b, second")
    kept = copy_notebooks(source, folder)
    assert (folder / "a.ipynb").read_text() == "a, with my answers"
    assert (folder / "b.ipynb").read_text() == "b, second"
    assert len(kept) == 1 and "a.ipynb" in kept[0] and "rename" in kept[0]
    # And the next step that was named works.
    (folder / "a.ipynb").rename(folder / "mine.ipynb")
    assert copy_notebooks(source, folder) == []
    assert (folder / "a.ipynb").read_text() == "a, second"


def test_a_changed_file_without_a_new_version_is_not_mentioned(source, folder) -> None:
    copy_notebooks(source, folder)
    (folder / "a.ipynb").write_text("a, with my answers")
    assert copy_notebooks(source, folder) == []
    assert (folder / "a.ipynb").read_text() == "a, with my answers"


@pytest.mark.parametrize("record", [None, "", "[]", "{broken"])
def test_without_a_readable_record_everything_is_the_readers(source, folder, record) -> None:
    (folder / "a.ipynb").write_text("somebody's a")
    if record is not None:
        (folder / notebooks.RECORD).write_text(record)
    assert len(copy_notebooks(source, folder)) == 1
    assert (folder / "a.ipynb").read_text() == "somebody's a"


def test_a_file_of_a_read_only_install_becomes_writable(source, folder) -> None:
    (source / "a.ipynb").chmod(0o444)
    copy_notebooks(source, folder)
    assert (folder / "a.ipynb").stat().st_mode & 0o200


def test_the_checkout_is_opened_in_place_and_a_wheel_copies_to_the_home(
    source, own_home, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(notebooks, "IN_WHEEL", tmp_path / "no-wheel")
    monkeypatch.setattr(notebooks, "IN_CHECKOUT", source)
    assert notebook_folder(None) == source
    before = visible(source)
    assert bring_notebooks(source) == []
    assert visible(source) == before and not (source / notebooks.RECORD).exists()
    monkeypatch.setattr(notebooks, "IN_WHEEL", source)
    assert notebook_folder(None) == own_home / "multigpu-llm-workshop"
    bring_notebooks(notebook_folder(None))
    assert (own_home / "multigpu-llm-workshop" / "a.ipynb").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkshopError, match=r"--folder FOLDER"):
        bring_notebooks(tmp_path / "file" / "below")


def test_a_folder_in_the_place_of_a_notebook_is_one_sentence(source, folder) -> None:
    (folder / "a.ipynb").mkdir()
    with pytest.raises(WorkshopError, match=r"a\.ipynb is a folder .*--folder FOLDER"):
        copy_notebooks(source, folder)
    assert (folder / "a.ipynb").is_dir()


def test_a_file_in_the_place_of_a_folder_is_one_sentence(source, folder) -> None:
    (folder / "recorded").touch()
    with pytest.raises(WorkshopError, match=r"recorded.*--folder FOLDER"):
        copy_notebooks(source, folder)
