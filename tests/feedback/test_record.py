from bestpapers.feedback.record import words


def test_words_are_split_at_eight_characters_and_at_no_other():
    assert words('A red-haired man\'s dog: "sit"!  (old photo)') == (
        "A",
        "red-haired",
        "man's",
        "dog",
        "sit",
        "(old",
        "photo)",
    )
    assert words("one,two.three?four!five;six") == ("one", "two", "three", "four", "five", "six")
    assert words("tab\tand\nline stay") == ("tab\tand\nline", "stay")
    assert words(' ,."') == words("") == ()
