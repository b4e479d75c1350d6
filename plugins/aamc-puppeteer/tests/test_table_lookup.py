import pytest
from aamc_agents.tool import AgentError
from aamc_puppeteer.testbed.tables import look_up

FILES = {
    "prices.csv": "item,price\nkelp soap,4.5\noak tray,12\n",
    "orders.csv": "order,buyer,item,quantity\nR1,Ada,kelp soap,3\nR2,Ben,oak tray,2\nR3,Ada,oak tray,5\n",
}


def test_a_cell_that_is_all_that_is_asked_is_the_answer() -> None:
    assert look_up("What is the price of Kelp Soap in prices.csv?", FILES) == "4.5"


def test_a_sum_is_left_to_others() -> None:
    assert look_up("Add up the quantity of every order whose buyer is Ada in orders.csv.", FILES) == "3 + 5"


def test_a_second_table_is_looked_up_in_a_second_call() -> None:
    once = look_up("Multiply the quantity of R3 in orders.csv by the price of its item in prices.csv.", FILES)
    assert once == "Multiply 5 by the price of oak tray in prices.csv."
    assert look_up(once, FILES) == "5 * 12"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("What is the price of glue in prices.csv?", "no row has item 'glue'"),
        ("What is the prize of kelp soap in prices.csv?", "no column 'prize'; did you mean 'price'"),
        ("What is the price of kelp soap in price.csv?", "no table 'price.csv'; did you mean 'prices.csv'"),
        ("What is the price of love?", "no table is asked for"),
        ("What is the a of b in empty.csv?", "'empty.csv' has no rows"),
    ],
)
def test_what_is_not_there_is_said(text: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        look_up(text, FILES | {"empty.csv": "a,b\n"})
