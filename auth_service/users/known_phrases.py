"""Phrases and rows of keys that guessers try and the estimator's own lists lack. Pure data.

Letters and digits alone, in lower case: that is how ``password_policy`` compares.
"""

from typing import Final

PHRASES: Final = (
    # of guides to passwords, and of this project's own
    "correcthorsebatterystaple",
    "tr0ub4dor3",
    "afewunrelatedwordsofyourown",
    "alongtestpassword",
    "thisismypassword",
    "mypasswordis",
    "letmeinplease",
    # songs, films, books and prayers
    "iloveyouforever",
    "iloveyousomuch",
    "iloveyoutothemoonandback",
    "iloveyou4ever",
    "tobeornottobe",
    "thatisthequestion",
    "thequickbrownfox",
    "jumpsoverthelazydog",
    "maytheforcebewithyou",
    "iamyourfather",
    "maryhadalittlelamb",
    "twinkletwinklelittlestar",
    "onceuponatime",
    "happilyeverafter",
    "happybirthdaytoyou",
    "merrychristmas",
    "happynewyear",
    "welcometothejungle",
    "wewillrockyou",
    "wearethechampions",
    "letitbe",
    "winteriscoming",
    "valarmorghulis",
    "allyourbasearebelongtous",
    "youshallnotpass",
    "inthebeginning",
    "jesuslovesme",
    "godisgood",
    "loremipsumdolorsitamet",
    "helloworld",
    # other languages
    "ichliebedich",
    "passwort",
    "meinpasswort",
    "jetaime",
    "motdepasse",
    "teamo",
    "teamoparasiempre",
    "contrasena",
    "tiamo",
    "senha",
    "пароль",
    "ятебялюблю",
    # rows of keys where the layout is not the American one
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
)

TIMES: Final = {
    name: f"{number:02}"
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "januar februar marz april mai juni juli august september oktober november dezember",
        "winter spring summer autumn",
        "winter fruhling sommer herbst",
        "fall",
        "monday tuesday wednesday thursday friday saturday sunday",
    )
    for number, name in enumerate(names.split(), start=1)
}
"""Months, seasons and days of the week, with the number of each."""
