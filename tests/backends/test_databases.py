import pytest
from sqlalchemy import create_engine, inspect, text


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_gets_an_empty_database_of_its_own(database_url: str, attempt: int) -> None:
    """What one test writes, the next does not see."""
    engine = create_engine(database_url)
    try:
        assert inspect(engine).get_table_names() == []
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE mark (id integer)"))
        assert inspect(engine).get_table_names() == ["mark"]
    finally:
        engine.dispose()


def test_postgresql_is_a_supported_version_reached_through_psycopg_3(postgresql_url: str) -> None:
    """The server under test is a real PostgreSQL of a version we support, reached through psycopg 3."""
    engine = create_engine(postgresql_url)
    try:
        with engine.connect() as connection:
            assert engine.driver == "psycopg"
            assert connection.dialect.server_version_info >= (14,)
    finally:
        engine.dispose()
