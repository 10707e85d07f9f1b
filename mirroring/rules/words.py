"""Small words of what people are told."""


def counted(number: int, noun: str) -> str:
    """Return '1 mirror', '2 mirrors', '0 entries'."""
    if number == 1:
        return f"1 {noun}"
    return (
        f"{number} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{number} {noun}s"
    )
