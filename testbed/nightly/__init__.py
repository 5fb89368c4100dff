"""Nights: the same series measured again and again, each time beside a reference, and told only when it is sure.

A *campaign* says what is measured (``campaign.py``), a *night* is one measuring of it (``night.py``). Sits between the
command line and the rooms that know experiments and what they meant; nothing but the command line imports it.
"""
