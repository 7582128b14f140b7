"""The pictures of `show --plot` and `report`, by matplotlib: imported only by what draws."""
