"""What a field says of a person, by what its form calls it. Pure, and never an error."""

import re
from collections.abc import Iterable, Mapping

from datacollect.matching.features import Role
from datacollect.matching.names import plain

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")

_CALLED: Mapping[Role, str] = {
    Role.FULL_NAME: "name, full name, fullname, person name, complete name, beneficiary name, member name, head name,"
    " household name, group name, nom complet, nombre completo, nome completo",
    Role.GIVEN_NAME: "given name, given names, givenname, first name, firstname, forename, prenom, prenoms, nombre, nombres",
    Role.FAMILY_NAME: "family name, familyname, last name, lastname, surname, nom, nom de famille, apellido, apellidos,"
    " sobrenome",
    Role.MIDDLE_NAME: "middle name, middlename, second name, other names, other name",
    Role.BIRTH_DATE: "birth date, birthdate, date of birth, dob, birthday, birth year, year of birth, date de naissance,"
    " date naissance, fecha de nacimiento, fecha nacimiento, data de nascimento",
    Role.AGE: "age, age years, age in years, estimated age, edad, idade",
    Role.SEX: "sex, gender, sexe, genre, sexo, genero",
    Role.PHONE: "phone, phone number, phonenumber, mobile, mobile number, mobile phone, telephone, tel, msisdn, cell,"
    " cell phone, whatsapp, telefono, telefone, contact number",
    Role.EMAIL: "email, e mail, email address, mail, correo, courriel",
    Role.DOCUMENT: "national id, nationalid, nid, id number, id card, id card number, identity number, identity card,"
    " identity card number, national id number, passport, passport number, document number, voter id, voter card,"
    " ration card, birth certificate, birth certificate number, social security number, soc sec id, ssn, uin, tax id,"
    " refugee id, unhcr id, case number, cedula, curp, dni, cni",
    Role.ADDRESS: "address, street, street name, street number, house number, address line, address 1, address 2,"
    " address line 1, address line 2, direccion, adresse, endereco",
    Role.LOCALITY: "village, suburb, town, city, settlement, camp, locality, community, neighbourhood, neighborhood,"
    " hamlet, ward, block",
    Role.POSTCODE: "postcode, post code, postal code, zip, zip code, zipcode",
}
_ROLES = {name.strip(): role for role, names in _CALLED.items() for name in names.split(",")}
_BY_TYPE = {"phoneNumber": Role.PHONE, "email": Role.EMAIL}
_EXPLICIT = {role.value.lower(): role for role in Role}
NONE = "none"
"""What a form writes to keep a field out of the matching."""


def role_of_key(key: str) -> Role | None:
    """The role of a field by its key, whatever the spelling: `dateOfBirth`, `date_of_birth`, `DATE OF BIRTH`."""
    words = plain(" ".join(_WORDS.findall(key)))
    return _ROLES.get(words)


def role_of(path: str, *, kind: str = "", marked: object = None) -> Role | None:
    """The role of a form's field. `marked` is what the form itself says; `kind` is the type of its component."""
    if isinstance(marked, str) and marked.strip():
        return _EXPLICIT.get(marked.strip().lower())
    return _BY_TYPE.get(kind) or role_of_key(path.rpartition(".")[2])


def roles_of_keys(keys: Iterable[str]) -> dict[str, Role]:
    """For data of which no form tells."""
    return {key: role for key in keys if (role := role_of_key(key)) is not None}
