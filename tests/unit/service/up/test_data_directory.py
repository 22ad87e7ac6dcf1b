"""A data directory that `refundry up` made configures every command that is given it."""

from pathlib import Path

from service.up.data_directory import settings_for


def test_what_up_made_is_found_in_its_directory(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    home.mkdir()
    for name, text in {"port": "5555", "owner.password": "o", "app.password": "a"}.items():
        (home / name).write_text(text)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "jwks.json").write_text("{}")

    read = settings_for(data_dir=tmp_path)
    told = settings_for(data_dir=tmp_path, database_url="postgresql://x@h/d", jwks_url="https://idp.example/jwks")

    assert read.database_url == "postgresql://refundry_app:a@127.0.0.1:5555/refundry"
    assert read.owner_url == "postgresql://refundry:o@127.0.0.1:5555/refundry"
    assert read.jwks_file == tmp_path / "keys" / "jwks.json"
    assert (told.database_url, told.jwks_file) == ("postgresql://x@h/d", None)
    assert told.owner_url == "postgresql://x@h/d"
