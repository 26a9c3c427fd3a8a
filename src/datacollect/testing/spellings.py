"""Names of four regions, the frequent ones first, and how clerks spell them otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_Twins = tuple[tuple[str, str], tuple[str, str]]
"""Names that are given to two together: for girls, for boys."""


@dataclass(frozen=True, slots=True)
class Region:
    women: Sequence[str]
    men: Sequence[str]
    families: Sequence[str]
    villages: Sequence[str]
    twins: Sequence[_Twins]
    syllables: Sequence[str]
    """Of names that few have."""
    prefix: str
    country: str
    wives_take_the_name: bool

    def rare(self, dice: Random) -> str:
        return "".join(dice.choice(self.syllables) for _ in range(dice.choice((2, 3, 3)))).capitalize()


def _words(text: str) -> Sequence[str]:
    return tuple(text.split())


_HORN = Region(
    women=_words(
        "Amina Fatima Halima Khadija Maryan Hawa Asha Sahra Hodan Faduma Zainab Safia Ayan Naima Ifrah Hamdi Nimo Sagal Ladan"
        " Deqa Idil Fardowsa Rahma Sucdi Shamso Nasra Ubah Hibo Warsan Qamar"
    ),
    men=_words(
        "Mohamed Ahmed Abdi Ali Hassan Ibrahim Abdullahi Omar Yusuf Hussein Ismail Osman Abdirahman Mahad Khalid Bashir Jama"
        " Farah Nur Guled Liban Mukhtar Said Dahir Warsame Aden Salad Hirsi Roble Samatar"
    ),
    families=_words(
        "Hassan Mohamed Ali Abdi Ahmed Warsame Farah Hussein Omar Jama Yusuf Osman Nur Aden Ibrahim Hirsi Duale Abukar Elmi"
        " Guled Samatar Roble Egal Barre Shire Dirie Gedi Mumin Sheikhdon Igal"
    ),
    villages=("Dolow", "Luuq", "Bula Hawa", "Qansax", "Wadajir"),
    twins=((("Hawa", "Hodan"), ("Hassan", "Hussein")), (("Amina", "Amran"), ("Said", "Saad"))),
    syllables=_words("ba da fa ga ha ja ka la ma na ra sa wa xa ya bi di li mo no ru su"),
    prefix="061", country="252", wives_take_the_name=False,
)  # fmt: skip

_SAHEL = Region(
    women=_words(
        "Fatoumata Aissata Mariam Awa Kadiatou Aminata Oumou Djeneba Ramata Salimata Rokia Assetou Hadjara Zeinabou Mariama"
        " Ouleymatou Nana Bintou Habibatou Coumba Safiatou Adama Maimouna Sanata Haoua Rahinatou Saoudatou Balkissa Hamsatou Fanta"
    ),
    men=_words(
        "Mamadou Amadou Moussa Ousmane Ibrahim Abdoulaye Seydou Issa Boubacar Oumarou Souleymane Adama Hamidou Salif Yacouba"
        " Idrissa Alassane Bakary Modibo Sekou Drissa Lassina Karim Issoufou Hamza Garba Mahamadou Harouna Tidiane Siaka"
    ),
    families=_words(
        "Traore Coulibaly Diallo Ouedraogo Keita Diarra Sawadogo Cisse Toure Kone Barry Sanogo Maiga Dembele Sidibe Sangare"
        " Konate Doumbia Zongo Kabore Ilboudo Camara Ba Sow Dicko Tamboura Guindo Tapsoba Niang Bagayoko"
    ),
    villages=("Kouri", "Sanga", "Djibo", "Tera", "Koulikoro"),
    twins=((("Hadjara", "Hassanatou"), ("Hassane", "Housseini")), (("Awa", "Adiza"), ("Lassina", "Lassana"))),
    syllables=_words("ba bou da dia fa ga kou la ma mou na nou ra sa si sou ta tou ya za"),
    prefix="07", country="223", wives_take_the_name=False,
)  # fmt: skip

_LAKES = Region(
    women=_words(
        "Mary Grace Esther Sarah Jane Rose Ruth Agnes Florence Joyce Margaret Juliet Betty Harriet Immaculate Neema Zawadi"
        " Furaha Rehema Mwajuma Akello Apio Nakato Babirye Namukasa Auma Achieng Nyambura Wanjiku Uwimana"
    ),
    men=_words(
        "John Joseph Peter David James Moses Samuel Emmanuel Charles Patrick Robert Isaac Daniel Juma Baraka Okello Ochieng"
        " Mugisha Kato Wasswa Byaruhanga Otieno Kamau Mwangi Hakizimana Ndayishimiye Opio Ocen Habimana Bahati"
    ),
    families=_words(
        "Okello Ochieng Akello Odhiambo Mugisha Byaruhanga Tumusiime Nakato Otieno Wanjala Kamau Mwangi Njoroge Hakizimana"
        " Niyonzima Nsengiyumva Uwimana Ndayishimiye Habimana Mukasa Ssemakula Kasule Opio Odongo Auma Nabirye Wafula"
        " Barasa Simiyu Kiptoo"
    ),
    villages=("Nakivale", "Kyaka", "Rwamwanja", "Bidi", "Kakuma"),
    twins=((("Nakato", "Babirye"), ("Kato", "Wasswa")), (("Apio", "Acen"), ("Opio", "Ocen"))),
    syllables=_words("ka ma na nya ru mu ki bo wa si ba lu ha ga te zi mbe ndo kwe"),
    prefix="078", country="256", wives_take_the_name=True,
)  # fmt: skip

_BENGAL = Region(
    women=_words(
        "Fatema Khadiza Ayesha Rokeya Nur Hasina Rahima Salma Amina Jahanara Shamsun Nasima Rehana Sajeda Kulsum Monira"
        " Taslima Shahida Sufia Minara Rabeya Hosneara Jorina Morium Asma Laila Parvin Sokina Halima Yasmin"
    ),
    men=_words(
        "Mohammad Abdul Nurul Mohammed Syed Rafiq Jamal Kamal Habib Rahim Karim Hashim Yunus Anwar Salim Shafiq Jahangir"
        " Aziz Hamid Idris Nazir Osman Sadek Shamsul Zafar Iqbal Faruk Selim Belal Monir"
    ),
    families=_words(
        "Begum Khatun Islam Rahman Uddin Hossain Alam Ahmed Ullah Hoque Miah Ali Akter Bibi Karim Mia Chowdhury Sheikh Khan"
        " Sarkar Talukder Mollah Sikder Majumder Bhuiyan Howlader Kabir Siddique Amin Johar"
    ),
    villages=("Balukhali", "Kutupalong", "Nayapara", "Leda", "Shamlapur"),
    twins=((("Salma", "Salima"), ("Hasan", "Hossain")), (("Rahima", "Karima"), ("Rahim", "Karim"))),
    syllables=_words("ba bi da du fa ha ja ju ka la ma mo na no ra ro sa sha ta ya za"),
    prefix="018", country="880", wives_take_the_name=False,
)  # fmt: skip

REGIONS: Sequence[Region] = (_HORN, _SAHEL, _LAKES, _BENGAL)

_ALIKE = """
Mohamed Muhammad Mohammed Mohammad Maxamed Muhamed Mahamad
Ahmed Ahmad Axmed Achmed Ahamed
Hassan Hasan Xasan Hassane Hasen
Hussein Hossain Husayn Xuseen Houssein Hossein Hussain
Housseini Husseini Husayni
Abdullahi Abdoulaye Abdulahi Cabdullaahi Abdoullahi
Abdi Cabdi Abdy
Ali Cali Aly Alli
Omar Cumar Umar Oumar Omer
Oumarou Umaru Omarou
Yusuf Yousuf Yuusuf Youssouf Yusef Yousef
Ibrahim Ibraahim Ebrahim Ibrahima Brahim
Ismail Ismaaciil Ismael Esmail
Osman Cusmaan Usman Ousmane Othman Uthman
Abdirahman Cabdiraxmaan Abdulrahman Abdirahmaan
Khalid Khaalid Kalid Khaled Halid
Mukhtar Muqtar Mokhtar Muktar
Said Siciid Saeed Sayid
Aden Aadan Adan Adam
Nur Nuur Noor Nour
Farah Faarax Farax
Bashir Bashiir Bachir Basheer
Jama Jaamac Djama Jamaa
Warsame Warsama Warsamme
Amina Aamina Aminah Ameena
Fatima Fatma Faduma Fatuma Fadumo Fatimah
Fatema Fatima Fathema
Halima Xaliimo Haleema Halimah
Khadija Khadijah Hadidja Khadiija Qadija Kadija
Khadiza Khadija Kadiza
Maryan Maryam Mariam Miriam Maryama
Hawa Xaawo Hauwa Hawwa Haoua
Asha Caasha Aisha Aasha
Ayesha Aisha Aysha Aesha
Sahra Zahra Sahara Zara
Zainab Zaynab Seynab Zeinab
Safia Safiya Safiyo Sofia
Naima Nacima Naeema Nayma
Hodan Hoodan Hodane
Mamadou Mamadu Mahamadou
Amadou Ahmadou Amadu Hamadou
Moussa Musa Mousa Moosa
Seydou Saidou Seidou Saydou
Issa Isa Eissa
Boubacar Bubakar Boubakar Aboubacar
Souleymane Soulemane Suleiman Souleimane
Hamidou Amidou Hamidu
Yacouba Yakouba Yacuba
Idrissa Idriss Idrisa
Alassane Alasane Allassane
Bakary Bakari Bacary
Sekou Seku Cheikou
Fatoumata Fatimata Fatumata Fatou
Aissata Aisata Aichata Aissatou
Mariam Maryam Mariame Miriam
Kadiatou Kadidiatou Kadjatou Khadiatou
Aminata Aminatou Amynata
Oumou Umu Oumu
Djeneba Jeneba Djenabou Zeneba
Salimata Salimatou Salymata
Zeinabou Zeynabou Zainabou
Traore Traoure Trawore
Coulibaly Koulibaly Kulibali Coulibali
Diallo Jallo Dialo Jalloh
Ouedraogo Wedraogo Ouedrago
Keita Keyta Kaita
Diarra Jarra Diara
Cisse Sise Ceesay Sisse
Toure Ture Touray
Kone Konneh Koné
Barry Bari Bary
Sangare Sangaré Sanghare
Dembele Dembelé Dambele
Camara Kamara
Sow So Sou
Kabore Kaboré Kabre
Mary Meri Marie
Grace Gres Grase
Esther Ester Esta
Sarah Sara Sera
Joyce Joice Joys
Florence Florense Folorence
Harriet Hariet Harieti
Margaret Magret Margret
John Jon Joni
Joseph Yosefu Josef Yusufu
Peter Petero Pita
David Daudi Davidi
James Yakobo Jemusi
Moses Musa Mozes
Samuel Samwel Samweli
Emmanuel Emanuel Imanweli
Charles Chalesi Charls
Patrick Patric Patriki
Isaac Isaka Isaack
Daniel Danieli Danyel
Ochieng Ocheng Ociengi
Achieng Acheng Aching
Okello Okelo Okelloh
Odhiambo Odiambo Odhyambo
Mugisha Mugisa Mugyisha
Byaruhanga Biaruhanga Byarugaba
Tumusiime Tumusime Tumushime
Hakizimana Akizimana Hakizimna
Ndayishimiye Ndaishimiye Ndayisimiye
Nsengiyumva Nsengyumva Sengiyumva
Uwimana Uimana Uwimanna
Ssemakula Semakula Ssemakulla
Mwangi Muangi Mwangy
Njoroge Njorogi Joroge
Mohammad Mohammed Mohamed Muhammad Md
Abdul Abdool Abdoul
Nurul Noorul Nurool
Rafiq Rofiq Rafique Rafik
Habib Habeeb Hobib
Karim Kareem Korim
Rahim Raheem Rohim
Yunus Younus Eunus Yunos
Salim Saleem Selim
Shafiq Shofiq Shafique
Hamid Hameed Homid
Jahangir Jahangeer Zahangir
Rokeya Rukeya Rokia Ruqayya
Rahima Rohima Raheema
Rehana Rehena Rihana
Monira Munira Moneera
Rabeya Rabia Robeya
Morium Mariam Maryam Moriom
Sokina Sakina Sukina
Kulsum Kulsom Kolsum Kulthum
Begum Begom Begam Bagum
Khatun Khatoon Katun Khatoun
Islam Eslam Isalm
Rahman Rohman Rahaman Rehman
Uddin Udin Uddeen
Alam Alom Aalam
Ullah Ulla Olah
Hoque Haque Hok Haq
Miah Mia Mya
Akter Akhter Aktar Akther
Chowdhury Choudhury Chaudhri Chowdury
Sheikh Shaikh Shekh
Siddique Siddiq Siddiqui Sidik
"""
SPELLINGS: dict[str, tuple[str, ...]] = {line.split()[0]: tuple(line.split()) for line in _ALIKE.strip().splitlines()}
"""By the name: how it is also written."""
