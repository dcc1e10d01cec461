"""Reading folders of products and of archived releases, so that what is wrong with one is said to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.product.avro_schema import parse
from jobs.product.folder import Product, ProductError, load_product, load_release
from jobs.product.topic_schemas import writer_texts
from replay.avro.compatibility import unreadable
from replay.errors import ConfigError
from replay.releases.archive import verify


def read_product(folder: Path) -> Product:
    """Read a product's folder; ConfigError says which file to fix."""
    with product_errors():
        product = load_product(folder)
        refuse_unreadable(product)
        return product


def refuse_unreadable(product: Product) -> None:
    """ProductError for schemas of writers whose records a topic's schema does not read: all would be rejects."""
    for name in product.settings.topics:
        files = product.writer_files(name)
        if not files:
            continue
        writer_texts(product, name)  # or says which of them is no schema
        own = product.schema_file(product.settings.kafka_name(name))
        reader = parse(own.read_text(), strict=False)
        for file in files:
            if problems := unreadable(reader, parse(file.read_text(), strict=False)):
                written = f"{file.parent.name}/{file.name}"
                raise ProductError(
                    own, f"a schema that reads what was written with {written}", problems[0]
                )


def read_archived(folder: Path, named: str) -> Product:
    """Read an archived release; RefusedError when it cannot be read because it was changed."""
    try:
        return read_release(folder)
    except ConfigError:
        verify(folder, named)
        raise


def read_release(folder: Path) -> Product:
    """Read an archived release; ConfigError says which file is wrong."""
    with product_errors():
        return load_release(folder)


@contextmanager
def product_errors() -> Iterator[None]:
    """Turn a folder that is wrong into ConfigError."""
    try:
        yield
    except ProductError as e:
        if e.file.name == "product.yaml" and not os.path.lexists(e.file):
            raise ConfigError(
                f"there is no product in {e.file.parent}",
                expected="a folder with product.yaml",
                found="no product.yaml",
                next="kappa new NAME --topic T, which writes one",
            ) from e
        raise ConfigError(
            f"{e.file} is wrong", expected=e.expected, found=e.found, next=f"fix {e.file}"
        ) from e
